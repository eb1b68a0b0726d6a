"""The kernels of `capacity.models.short_attention`, in C++.

A vector holds one number of each of 16 queries of a row and head, so that scores, softmax and its gradient are made for
all of them at once, key by key; what is summed over keys or queries is in vectors of eight channels, the last filled up
with zeros. Every sum has one order: bits are equal from run to run. For GCC and Clang, whose vector types these are.
"""

SOURCE = r"""
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cmath>
#include <cstring>

namespace {

using torch::stable::Tensor;

constexpr int BLOCK = 16, LANES = 8, MAX_TOKENS = %(tokens)d, MAX_CHANNELS = %(channels)d;
typedef float Queries __attribute__((vector_size(4 * BLOCK)));
typedef int32_t Integers __attribute__((vector_size(4 * BLOCK)));
typedef float Channels __attribute__((vector_size(4 * LANES)));

inline Queries all(float x) { return Queries{} + x; }

// e^x for x <= 0, to 2 units in the last place; 0 below -87. NaN stays NaN.
inline Queries power(Queries x) {
  const Integers vanishes = x < -87.0f;
  const float to_integer = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, in the last bits
  const Queries shifted = (vanishes ? all(0) : x) * 1.44269504f + to_integer;
  const Queries n = shifted - to_integer;
  const Queries r = (x - n * 0.693145752f) - n * 1.42860677e-6f;  // log 2 in two parts
  Queries sum = r * 1.98756915e-4f + 1.39819995e-3f;  // Cephes' polynomial for e^r, |r| <= log(2) / 2
  sum = sum * r + 8.33345190e-3f;
  sum = sum * r + 4.16657960e-2f;
  sum = sum * r + 1.66666655e-1f;
  sum = sum * r + 0.5f;
  sum = sum * r * r + r + 1.0f;
  Integers bits;
  memcpy(&bits, &shifted, sizeof bits);
  bits = (bits << 23) + 0x3f800000;
  Queries two_to_n;
  memcpy(&two_to_n, &bits, sizeof two_to_n);
  return vanishes ? all(0) : sum * two_to_n;
}

// Of one tensor (B, H, T, D): where it is, and how far apart its rows, heads and tokens are.
struct View {
  float* data;
  int64_t row, head, token;
  View(const Tensor& t, int heads, int tokens)
      : data((float*)t.data_ptr()), row(t.stride(0)), head(t.stride(heads)), token(t.stride(tokens)) {}
  float* of(int64_t b, int64_t h) const { return data + b * row + h * head; }
};

// The tokens of one row and head, each in C vectors.
template <int C>
struct Tokens {
  Channels token[MAX_TOKENS][C];
  Tokens(const float* from, int64_t stride, int T, int D) {
    for (int t = 0; t < T; ++t) {
      if (D == C * LANES) {
        memcpy(token[t], from + t * stride, sizeof token[t]);
        continue;
      }
      for (int c = 0; c < C; ++c) token[t][c] = Channels{};
      memcpy(token[t], from + t * stride, D * sizeof(float));
    }
  }
};

template <int C>
inline void write(const Channels* sum, float* to, int D) {
  memcpy(to, sum, (D < C * LANES ? D : C * LANES) * sizeof(float));
}

// sums[j][i] = the product of token j and query first + i, over channels.
template <int C>
inline void scores(const Tokens<C>& tokens, const float* queries, int64_t stride, int first, int last, int D,
                   Queries* sums) {
  Queries columns[C * LANES];
  float* flat = (float*)columns;
  for (int d = 0; d < D; ++d) columns[d] = Queries{};
  for (int i = first; i < last; ++i)
    for (int d = 0; d < D; ++d) flat[d * BLOCK + i - first] = queries[i * stride + d];
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
                 int64_t k_stride, int64_t v_stride, int64_t out_stride, int T, int D, int width, float scale) {
  const Tokens<C> keys(k, k_stride, T, D), values(v, v_stride, T, D);
  for (int first = 0; first < T; first += BLOCK) {
    const int last = first + BLOCK < T ? first + BLOCK : T;
    const Integers query = Integers{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15} + first;
    Queries weight[MAX_TOKENS], top = all(-INFINITY), total = {};
    scores<C>(keys, q, q_stride, first, last, D, weight);
    for (int j = 0; j < last; ++j) {
      weight[j] = query < j ? all(-INFINITY) : weight[j] * scale;
      top = weight[j] > top ? weight[j] : top;
    }
    for (int j = 0; j < last; ++j) {
      weight[j] = query < j ? Queries{} : power(weight[j] - top);
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
                  int64_t out_stride, int T, int D, int width, float scale) {
  const Tokens<C> slopes(g, g_stride, T, D), queries(q, q_stride, T, D), keys(k, k_stride, T, D);
  const Tokens<C> values(v, v_stride, T, D);
  float score_slopes[MAX_TOKENS * MAX_TOKENS];  // as `weights`
  for (int first = 0; first < T; first += BLOCK) {
    const int last = first + BLOCK < T ? first + BLOCK : T;
    Queries slope[MAX_TOKENS], mean = {};
    scores<C>(values, g, g_stride, first, last, D, slope);
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
    write<C>(key_sum, dk + j * out_stride, D);
    write<C>(value_sum, dv + j * out_stride, D);
  }
}

template <int C>
void forward_all(const View& q, const View& k, const View& v, const View& out, const View& weights, const Tensor& shape,
                 float scale) {
  const int B = shape.size(0), H = shape.size(1), T = shape.size(2), D = shape.size(3);
  for (int b = 0; b < B; ++b)
    for (int h = 0; h < H; ++h)
      forward_one<C>(q.of(b, h), k.of(b, h), v.of(b, h), out.of(b, h), weights.of(b, h), q.token, k.token, v.token,
                     out.token, T, D, weights.token, scale);
}

template <int C>
void backward_all(const View& g, const View& q, const View& k, const View& v, const View& weights, const View& dq,
                  const View& dk, const View& dv, const Tensor& shape, float scale) {
  const int B = shape.size(0), H = shape.size(1), T = shape.size(2), D = shape.size(3);
  for (int b = 0; b < B; ++b)
    for (int h = 0; h < H; ++h)
      backward_one<C>(g.of(b, h), q.of(b, h), k.of(b, h), v.of(b, h), weights.of(b, h), dq.of(b, h), dk.of(b, h),
                      dv.of(b, h), g.token, q.token, k.token, v.token, dq.token, T, D, weights.token, scale);
}

Tensor empty(const Tensor& like, int64_t a, int64_t b, int64_t c, int64_t d) {
  return torch::stable::new_empty(like, {a, b, c, d});
}

// The function for heads of D channels: in 1, 2, 4 or 8 vectors.
template <typename F>
F of_size(int64_t D, F one, F two, F four, F eight) {
  return D <= LANES ? one : D <= 2 * LANES ? two : D <= 4 * LANES ? four : eight;
}

void check(const Tensor& q) {
  STD_TORCH_CHECK(q.size(2) <= MAX_TOKENS && q.size(3) <= MAX_CHANNELS, "too many tokens or channels");
}

std::tuple<Tensor, Tensor> forward(Tensor q, Tensor k, Tensor v, double scale) {
  check(q);
  const int64_t B = q.size(0), H = q.size(1), T = q.size(2), D = q.size(3);
  Tensor out = empty(q, B, T, H, D), weights = empty(q, B, H, T, (T + BLOCK - 1) / BLOCK * BLOCK);
  of_size(D, forward_all<1>, forward_all<2>, forward_all<4>, forward_all<8>)(
      View(q, 1, 2), View(k, 1, 2), View(v, 1, 2), View(out, 2, 1), View(weights, 1, 2), q, scale);
  return {out, weights};
}

std::tuple<Tensor, Tensor, Tensor> backward(Tensor g, Tensor q, Tensor k, Tensor v, Tensor weights, double scale) {
  check(q);
  const int64_t B = q.size(0), H = q.size(1), T = q.size(2), D = q.size(3);
  Tensor dq = empty(q, B, T, H, D), dk = empty(q, B, T, H, D), dv = empty(q, B, T, H, D);
  of_size(D, backward_all<1>, backward_all<2>, backward_all<4>, backward_all<8>)(
      View(g, 2, 1), View(q, 1, 2), View(k, 1, 2), View(v, 1, 2), View(weights, 1, 2), View(dq, 2, 1), View(dk, 2, 1),
      View(dv, 2, 1), q, scale);
  return {dq, dk, dv};
}

}  // namespace

#define DEFINE(name, library) STABLE_TORCH_LIBRARY(name, library)
#define IMPLEMENT(name, device, library) STABLE_TORCH_LIBRARY_IMPL(name, device, library)

DEFINE(NAMESPACE, library) {
  library.def("forward(Tensor q, Tensor k, Tensor v, float scale) -> (Tensor, Tensor)");
  library.def(
      "backward(Tensor g, Tensor q, Tensor k, Tensor v, Tensor weights, float scale) -> (Tensor, Tensor, Tensor)");
}

IMPLEMENT(NAMESPACE, CPU, library) {
  library.impl("forward", TORCH_BOX(&forward));
  library.impl("backward", TORCH_BOX(&backward));
}
"""
