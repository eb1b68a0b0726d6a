"""Vectors of the processor in C++, for GCC and Clang, whose types these are, and e^x for all numbers of one at once.

In memory numbers are float32, or bfloat16, the upper half of it, as `uint16_t`; vectors hold float32.
"""

SOURCE = r"""
template <int N>
struct Vectors {
  typedef float Numbers __attribute__((vector_size(4 * N)));
  typedef uint32_t Bits __attribute__((vector_size(4 * N)));
  typedef uint16_t Halves __attribute__((vector_size(2 * N)));
};

template <int N>
inline typename Vectors<N>::Numbers load(const float* from) {
  typename Vectors<N>::Numbers some;
  memcpy(&some, from, sizeof some);
  return some;
}

template <int N>
inline typename Vectors<N>::Numbers load(const uint16_t* from) {
  typename Vectors<N>::Halves some;
  memcpy(&some, from, sizeof some);
  const typename Vectors<N>::Bits bits = __builtin_convertvector(some, typename Vectors<N>::Bits) << 16;
  typename Vectors<N>::Numbers numbers;
  memcpy(&numbers, &bits, sizeof numbers);
  return numbers;
}

template <int N>
inline void store(const typename Vectors<N>::Numbers& numbers, float* to) {
  memcpy(to, &numbers, sizeof numbers);
}

// To the nearest, of two to the even one, as torch rounds; NaN stays NaN.
template <int N>
inline void store(const typename Vectors<N>::Numbers& numbers, uint16_t* to) {
  typedef typename Vectors<N>::Bits Bits;
  Bits bits;
  memcpy(&bits, &numbers, sizeof bits);
  const Bits nearest = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  const Bits nan = (Bits)(numbers != numbers);
  const auto some = __builtin_convertvector((nan & 0x7fc0) | (~nan & nearest), typename Vectors<N>::Halves);
  memcpy(to, &some, sizeof some);
}

constexpr int LANES = 16;
typedef Vectors<LANES>::Numbers Floats;
typedef int32_t Integers __attribute__((vector_size(4 * LANES)));

inline Floats all(float x) { return Floats{} + x; }

template <typename S>
inline Floats read(const S* from) {
  return load<LANES>(from);
}

template <typename S>
inline void write(const Floats& some, S* to) {
  store<LANES>(some, to);
}

inline bool is_bfloat16(const Tensor& t) { return t.scalar_type() == ScalarType::BFloat16; }

// e^x for x <= 0, to 2 units in the last place; 0 below -87. NaN stays NaN.
inline Floats power(Floats x) {
  const Integers vanishes = x < -87.0f;
  const float to_integer = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, in the last bits
  const Floats shifted = (vanishes ? all(0) : x) * 1.44269504f + to_integer;
  const Floats n = shifted - to_integer;
  const Floats r = (x - n * 0.693145752f) - n * 1.42860677e-6f;  // log 2 in two parts
  Floats sum = r * 1.98756915e-4f + 1.39819995e-3f;  // Cephes' polynomial for e^r, |r| <= log(2) / 2
  sum = sum * r + 8.33345190e-3f;
  sum = sum * r + 4.16657960e-2f;
  sum = sum * r + 1.66666655e-1f;
  sum = sum * r + 0.5f;
  sum = sum * r * r + r + 1.0f;
  Integers bits;
  memcpy(&bits, &shifted, sizeof bits);
  bits = (bits << 23) + 0x3f800000;
  Floats two_to_n;
  memcpy(&two_to_n, &bits, sizeof two_to_n);
  return vanishes ? all(0) : sum * two_to_n;
}
"""
