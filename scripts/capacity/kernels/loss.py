"""The mean loss of next tokens and its gradient in C++: see `capacity.training.mean_loss`.

e is raised to every logit once; what torch.compile makes raises it twice. Some rows at a time go through each pass, so
that the processor need not wait for one row's maximum or sum before it begins with the next.
"""

FEWEST_LOGITS = 16  # of a row

SOURCE = r"""
constexpr int ROWS = 8;

// The lanes of a vector made one number, by halves.
template <typename F>
inline float fold(const Floats& lanes, F two) {
  float some[LANES];
  memcpy(some, &lanes, sizeof some);
  for (int half = LANES / 2; half; half /= 2)
    for (int lane = 0; lane < half; ++lane) some[lane] = two(some[lane], some[lane + half]);
  return some[0];
}

// A row of V >= LANES numbers is read as whole vectors, the last of which begins at V - LANES: `fresh` is 1 where that
// one goes beyond the others, 0 where it holds what they hold.
struct Row {
  int64_t V;
  Floats fresh;
  Row(int64_t V) : V(V) {
    for (int lane = 0; lane < LANES; ++lane) fresh[lane] = lane >= LANES - V % LANES;
  }

  template <typename S>
  float largest(const S* row) const {
    Floats top = read(row + V - LANES);
    for (int64_t v = 0; v + LANES <= V; v += LANES) {
      const Floats some = read(row + v);
      top = some > top ? some : top;
    }
    return fold(top, [](float a, float b) { return a > b ? a : b; });
  }

  // e^(logit - top), and their sum.
  template <typename S>
  float powers(const S* row, float* to, float top) const {
    const Floats last = power(read(row + V - LANES) - top);
    Floats sum = last * fresh;
    for (int64_t v = 0; v + LANES <= V; v += LANES) {
      const Floats some = power(read(row + v) - top);
      write(some, to + v);
      sum += some;
    }
    write(last, to + V - LANES);
    return fold(sum, [](float a, float b) { return a + b; });
  }

  void multiply(float* row, float by) const {
    const Floats last = read(row + V - LANES) * by;
    for (int64_t v = 0; v + LANES <= V; v += LANES) write(read(row + v) * by, row + v);
    write(last, row + V - LANES);
  }

  void copy(const float* row, uint16_t* to) const {
    const Floats last = read(row + V - LANES);
    for (int64_t v = 0; v + LANES <= V; v += LANES) write(read(row + v), to + v);
    write(last, to + V - LANES);
  }
  void copy(const float*, float*) const {}  // it is there already
};

inline float number(float x) { return x; }
inline float number(uint16_t half) {
  const uint32_t bits = (uint32_t)half << 16;
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

// Where the gradients of some rows are made: in their place, or beside it where that is of bfloat16.
inline float* workplace(float* slope, float*) { return slope; }
inline float* workplace(uint16_t*, float* beside) { return beside; }

template <typename S>
double add_up(const S* logit, const int64_t* target, S* slope, int64_t N, int64_t V, int64_t ignored, float weight) {
  const Row row(V);
  std::vector<float> beside(sizeof(S) == sizeof(float) ? 0 : ROWS * V);
  double nats = 0;
  for (int64_t first = 0; first < N; first += ROWS) {
    const int rows = N - first < ROWS ? N - first : ROWS;
    float top[ROWS], total[ROWS], *work = workplace(slope + first * V, beside.data());
    for (int r = 0; r < rows; ++r) top[r] = row.largest(logit + (first + r) * V);
    for (int r = 0; r < rows; ++r) total[r] = row.powers(logit + (first + r) * V, work + r * V, top[r]);
    for (int r = 0; r < rows; ++r) {
      const int64_t n = first + r;
      if (target[n] == ignored) {
        memset(slope + n * V, 0, V * sizeof(S));
        continue;
      }
      row.multiply(work + r * V, weight / total[r]);
      work[r * V + target[n]] -= weight;
      row.copy(work + r * V, slope + n * V);
      nats += top[r] - number(logit[n * V + target[n]]) + logf(total[r]);
    }
  }
  return nats;
}

// Of logits (N, V) and targets (N): the mean cross-entropy in nats over the targets that are not `ignored`, NaN where
// none is left, and its gradient (N, V), of the logits' own type.
std::tuple<Tensor, Tensor> mean_loss(Tensor logits, Tensor targets, int64_t ignored) {
  const int64_t N = logits.size(0), V = logits.size(1);
  STD_TORCH_CHECK(targets.size(0) == N && V >= LANES, "not rows of logits and a target for each");
  if (!logits.is_contiguous()) logits = torch::stable::contiguous(logits);
  if (!targets.is_contiguous()) targets = torch::stable::contiguous(targets);
  Tensor loss = torch::stable::new_empty(logits, {}, ScalarType::Float);
  Tensor gradient = torch::stable::new_empty(logits, {N, V});
  const int64_t* target = (const int64_t*)targets.data_ptr();
  int64_t scored = 0;
  for (int64_t n = 0; n < N; ++n) {
    STD_TORCH_CHECK(target[n] == ignored || (0 <= target[n] && target[n] < V), "a target that is no token");
    scored += target[n] != ignored;
  }
  const float weight = 1.0f / scored;
  const auto nats_of = [&](auto* logit) {
    using S = std::remove_pointer_t<decltype(logit)>;
    return add_up<S>(logit, target, (S*)gradient.data_ptr(), N, V, ignored, weight);
  };
  void* logit = logits.data_ptr();
  *(float*)loss.data_ptr() = (is_bfloat16(logits) ? nats_of((uint16_t*)logit) : nats_of((float*)logit)) / scored;
  return {loss, gradient};
}
"""
