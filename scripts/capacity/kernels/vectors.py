"""Vectors of the processor in C++, for GCC and Clang, whose types these are, and e^x for all numbers of one at once."""

SOURCE = r"""
constexpr int LANES = 16;
typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef int32_t Integers __attribute__((vector_size(4 * LANES)));

inline Floats all(float x) { return Floats{} + x; }

inline Floats read(const float* from) {
  Floats some;
  memcpy(&some, from, sizeof some);
  return some;
}

inline void write(const Floats& some, float* to) { memcpy(to, &some, sizeof some); }

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
