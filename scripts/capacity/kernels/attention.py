"""Causal attention of short rows in C++, forward and backward: see `capacity.models.short_attention`.

A vector holds one number of each of 16 queries of a row and head, so that scores, softmax and its gradient are made for
all of them at once, key by key; what is summed over keys or queries is in vectors of eight channels, the last filled up
with zeros. Every sum has one order: bits are equal from run to run. Rotary positions are applied to what is read and
taken back from the gradients: slices of a few channels, which a kernel of its own would not fill a vector with.
"""

MAX_TOKENS, MAX_CHANNELS = 64, 64  # of a row and of a head

SOURCE = (
    f"""
constexpr int MAX_TOKENS = {MAX_TOKENS}, MAX_CHANNELS = {MAX_CHANNELS};"""
    r"""
constexpr int BLOCK = LANES, GROUP = 8;
typedef Floats Queries;
typedef float Channels __attribute__((vector_size(4 * GROUP)));

// Of one tensor (B, H, T, D): where it is, and how far apart its rows, heads and tokens are.
struct View {
  float* data;
  int64_t row, head, token;
  View(const Tensor& t, int heads, int tokens)
      : data((float*)t.data_ptr()), row(t.stride(0)), head(t.stride(heads)), token(t.stride(tokens)) {}
  View later(int64_t numbers) const {
    View other = *this;
    other.data += numbers;
    return other;
  }
  float* of(int64_t b, int64_t h) const { return data + b * row + h * head; }
};

// Rotary positions: channel d of a token turns with channel d + half, by cos and sin (T, 2 half); others stay.
struct Rotation {
  const float *cos, *sin;
  int half;
  Rotation(const Tensor& cos, const Tensor& sin)
      : cos((const float*)cos.data_ptr()), sin((const float*)sin.data_ptr()), half(cos.size(1) / 2) {}
  void turn(Channels* token, int t) const {
    const float *c = cos + t * 2 * half, *s = sin + t * 2 * half;
    pairs(token, [&](auto& low, auto& high, int d) {
      const auto before = low;
      low = before * read(low, c + d) - high * read(low, s + d);
      high = high * read(low, c + half + d) + before * read(low, s + half + d);
    });
  }
  // The gradient by a token, of that by the turned one.
  void turn_back(Channels* slope, int t) const {
    const float *c = cos + t * 2 * half, *s = sin + t * 2 * half;
    pairs(slope, [&](auto& low, auto& high, int d) {
      const auto before = low;
      low = before * read(low, c + d) + high * read(low, s + half + d);
      high = high * read(low, c + half + d) - before * read(low, s + d);
    });
  }

 private:
  typedef float Four __attribute__((vector_size(16)));

  template <typename V>
  static V read(const V&, const float* from) {
    V some;
    memcpy(&some, from, sizeof some);
    return some;
  }
  // Work for all pairs of channels, four at a time and then one.
  template <typename F>
  void pairs(Channels* token, F work) const {
    int d = 0;
    for (; d + 4 <= half; d += 4) pair<Four>((float*)token, d, work);
    for (; d < half; ++d) pair<float>((float*)token, d, work);
  }
  template <typename V, typename F>
  void pair(float* token, int d, F work) const {
    V low = read(V{}, token + d), high = read(V{}, token + half + d);
    work(low, high, d);
    memcpy(token + d, &low, sizeof low);
    memcpy(token + half + d, &high, sizeof high);
  }
};

// The tokens of one row and head, each in C vectors.
template <int C>
struct Tokens {
  Channels token[MAX_TOKENS][C];
  Tokens(const float* from, int64_t stride, int T, int D) {
    for (int t = 0; t < T; ++t) {
      if (D == C * GROUP) {
        memcpy(token[t], from + t * stride, sizeof token[t]);
        continue;
      }
      for (int c = 0; c < C; ++c) token[t][c] = Channels{};
      memcpy(token[t], from + t * stride, D * sizeof(float));
    }
  }
  Tokens(const float* from, int64_t stride, int T, int D, const Rotation& rotation) : Tokens(from, stride, T, D) {
    for (int t = 0; t < T; ++t) rotation.turn(token[t], t);
  }
};

template <int C>
inline void write(const Channels* sum, float* to, int D) {
  if (D == C * GROUP)
    memcpy(to, sum, C * sizeof(Channels));
  else
    memcpy(to, sum, D * sizeof(float));
}

// sums[j][i] = the product of token j and query first + i, over channels.
template <int C>
inline void scores(const Tokens<C>& tokens, const Tokens<C>& queries, int first, int last, int D, Queries* sums) {
  Queries columns[C * GROUP];
  float* flat = (float*)columns;
  for (int d = 0; d < D; ++d) columns[d] = Floats{};
  for (int i = first; i < last; ++i) {
    const float* query = (const float*)queries.token[i];
    for (int d = 0; d < D; ++d) flat[d * BLOCK + i - first] = query[d];
  }
  for (int j = 0; j < last; ++j) {
    const float* token = (const float*)tokens.token[j];
    Queries sum = {};
    for (int d = 0; d < D; ++d) sum += token[d] * columns[d];
    sums[j] = sum;
  }
}

// weights[j][i]: what query i takes of token j, in rows of whole blocks.
template <int C>
void forward_one(const float* q, const float* k, const float* v, float* out, float* weights, int64_t q_stride,
                 int64_t k_stride, int64_t v_stride, int64_t out_stride, const Rotation& rotation, int T, int D,
                 int width, float scale) {
  const Tokens<C> queries(q, q_stride, T, D, rotation), keys(k, k_stride, T, D, rotation), values(v, v_stride, T, D);
  for (int first = 0; first < T; first += BLOCK) {
    const int last = first + BLOCK < T ? first + BLOCK : T;
    const Integers query = Integers{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15} + first;
    Queries weight[MAX_TOKENS], top = all(-INFINITY), total = {};
    scores<C>(keys, queries, first, last, D, weight);
    for (int j = 0; j < last; ++j) {
      weight[j] = query < j ? all(-INFINITY) : weight[j] * scale;
      top = weight[j] > top ? weight[j] : top;
    }
    for (int j = 0; j < last; ++j) {
      weight[j] = query < j ? Floats{} : power(weight[j] - top);
      total += weight[j];
    }
    total = 1.0f / total;
    for (int j = 0; j < last; ++j) {
      weight[j] *= total;
      memcpy(weights + j * width + first, &weight[j], sizeof weight[j]);
    }
    const float* flat = (const float*)weight;
    for (int i = first; i < last; ++i) {
      Channels sum[C] = {};
      for (int j = 0; j <= i; ++j)
        for (int c = 0; c < C; ++c) sum[c] += flat[j * BLOCK + i - first] * values.token[j][c];
      write<C>(sum, out + i * out_stride, D);
    }
  }
}

template <int C>
void backward_one(const float* g, const float* q, const float* k, const float* v, const float* weights, float* dq,
                  float* dk, float* dv, int64_t g_stride, int64_t q_stride, int64_t k_stride, int64_t v_stride,
                  int64_t out_stride, const Rotation& rotation, int T, int D, int width, float scale) {
  const Tokens<C> queries(q, q_stride, T, D, rotation), keys(k, k_stride, T, D, rotation);
  const Tokens<C> slopes(g, g_stride, T, D), values(v, v_stride, T, D);
  float score_slopes[MAX_TOKENS * MAX_TOKENS];  // as `weights`
  for (int first = 0; first < T; first += BLOCK) {
    const int last = first + BLOCK < T ? first + BLOCK : T;
    Queries slope[MAX_TOKENS], mean = {};
    scores<C>(values, slopes, first, last, D, slope);
    for (int j = 0; j < last; ++j) {
      Queries weight;
      memcpy(&weight, weights + j * width + first, sizeof weight);
      mean += slope[j] * weight;
    }
    for (int j = 0; j < last; ++j) {
      Queries weight;
      memcpy(&weight, weights + j * width + first, sizeof weight);
      slope[j] = weight * (slope[j] - mean) * scale;
      memcpy(score_slopes + j * width + first, &slope[j], sizeof slope[j]);
    }
    for (int i = first; i < last; ++i) {
      Channels sum[C] = {};
      for (int j = 0; j <= i; ++j)
        for (int c = 0; c < C; ++c) sum[c] += score_slopes[j * width + i] * keys.token[j][c];
      rotation.turn_back(sum, i);
      write<C>(sum, dq + i * out_stride, D);
    }
  }
  for (int j = 0; j < T; ++j) {
    Channels key_sum[C] = {}, value_sum[C] = {};
    for (int i = j; i < T; ++i)
      for (int c = 0; c < C; ++c) {
        key_sum[c] += score_slopes[j * width + i] * queries.token[i][c];
        value_sum[c] += weights[j * width + i] * slopes.token[i][c];
      }
    rotation.turn_back(key_sum, j);
    write<C>(key_sum, dk + j * out_stride, D);
    write<C>(value_sum, dv + j * out_stride, D);
  }
}

template <int C>
void forward_all(const View& q, const View& k, const View& v, const View& out, const View& weights,
                 const Rotation& rotation, const Tensor& shape, float scale) {
  const int B = shape.size(0), H = shape.size(1), T = shape.size(2), D = shape.size(3);
  for (int b = 0; b < B; ++b)
    for (int h = 0; h < H; ++h)
      forward_one<C>(q.of(b, h), k.of(b, h), v.of(b, h), out.of(b, h), weights.of(b, h), q.token, k.token, v.token,
                     out.token, rotation, T, D, weights.token, scale);
}

template <int C>
void backward_all(const View& g, const View& q, const View& k, const View& v, const View& weights, const View& dq,
                  const View& dk, const View& dv, const Rotation& rotation, const Tensor& shape, float scale) {
  const int B = shape.size(0), H = shape.size(1), T = shape.size(2), D = shape.size(3);
  for (int b = 0; b < B; ++b)
    for (int h = 0; h < H; ++h)
      backward_one<C>(g.of(b, h), q.of(b, h), k.of(b, h), v.of(b, h), weights.of(b, h), dq.of(b, h), dk.of(b, h),
                      dv.of(b, h), g.token, q.token, k.token, v.token, dq.token, rotation, T, D, weights.token, scale);
}

Tensor empty(const Tensor& like, int64_t a, int64_t b, int64_t c, int64_t d) {
  return torch::stable::new_empty(like, {a, b, c, d});
}

// The function for heads of D channels: in 1, 2, 4 or 8 vectors.
template <typename F>
F of_size(int64_t D, F one, F two, F four, F eight) {
  return D <= GROUP ? one : D <= 2 * GROUP ? two : D <= 4 * GROUP ? four : eight;
}

// A tensor whose channels stand together: the same one, or a copy.
Tensor together(const Tensor& t) { return t.stride(3) == 1 ? t : torch::stable::contiguous(t); }

void check(const Tensor& q, const Tensor& cos, const Tensor& sin) {
  STD_TORCH_CHECK(q.size(2) <= MAX_TOKENS && q.size(3) <= MAX_CHANNELS, "too many tokens or channels");
  for (const Tensor& table : {cos, sin})
    STD_TORCH_CHECK(table.is_contiguous() && table.size(0) >= q.size(2) && table.size(1) == cos.size(1) &&
                        table.size(1) <= q.size(3) && table.size(1) % 2 == 0,
                    "rotary positions of another shape");
}

std::tuple<Tensor, Tensor> attention(Tensor q, Tensor k, Tensor v, Tensor cos, Tensor sin, double scale) {
  check(q, cos, sin);
  q = together(q), k = together(k), v = together(v);
  const int64_t B = q.size(0), H = q.size(1), T = q.size(2), D = q.size(3);
  Tensor out = empty(q, B, T, H, D), weights = empty(q, B, H, T, (T + BLOCK - 1) / BLOCK * BLOCK);
  of_size(D, forward_all<1>, forward_all<2>, forward_all<4>, forward_all<8>)(
      View(q, 1, 2), View(k, 1, 2), View(v, 1, 2), View(out, 2, 1), View(weights, 1, 2),
      Rotation(cos, sin), q, scale);
  return {out, weights};
}

// The gradients of all three in one: as parts of each head (B, T, H, 3, D), or else as (B, T, 3, H, D).
Tensor attention_backward(Tensor g, Tensor q, Tensor k, Tensor v, Tensor weights, Tensor cos, Tensor sin, double scale,
                          bool in_heads) {
  check(q, cos, sin);
  g = together(g), q = together(q), k = together(k), v = together(v);
  const int64_t B = q.size(0), H = q.size(1), T = q.size(2), D = q.size(3);
  Tensor slopes = torch::stable::new_empty(q, {B, T, in_heads ? H : 3, in_heads ? 3 : H, D});
  const View dq(slopes, in_heads ? 2 : 3, 1);
  const int64_t apart = slopes.stride(in_heads ? 3 : 2);
  of_size(D, backward_all<1>, backward_all<2>, backward_all<4>, backward_all<8>)(
      View(g, 2, 1), View(q, 1, 2), View(k, 1, 2), View(v, 1, 2), View(weights, 1, 2), dq, dq.later(apart),
      dq.later(2 * apart), Rotation(cos, sin), q, scale);
  return slopes;
}
"""
)
