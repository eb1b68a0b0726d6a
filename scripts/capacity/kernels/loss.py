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

  float largest(const float* row) const {
    Floats top = read(row + V - LANES);
    for (int64_t v = 0; v + LANES <= V; v += LANES) {
      const Floats some = read(row + v);
      top = some > top ? some : top;
    }
    return fold(top, [](float a, float b) { return a > b ? a : b; });
  }

  // e^(logit - top), and their sum.
  float powers(const float* row, float* to, float top) const {
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
};

// Of logits (N, V) and targets (N): the mean cross-entropy in nats over the targets that are not `ignored`, NaN where
// none is left, and its gradient (N, V).
std::tuple<Tensor, Tensor> mean_loss(Tensor logits, Tensor targets, int64_t ignored) {
  const int64_t N = logits.size(0), V = logits.size(1);
  STD_TORCH_CHECK(targets.size(0) == N && V >= LANES, "not rows of logits and a target for each");
  if (!logits.is_contiguous()) logits = torch::stable::contiguous(logits);
  if (!targets.is_contiguous()) targets = torch::stable::contiguous(targets);
  Tensor loss = torch::stable::new_empty(logits, {}), gradient = torch::stable::new_empty(logits, {N, V});
  const float* logit = (const float*)logits.data_ptr();
  const int64_t* target = (const int64_t*)targets.data_ptr();
  float* slope = (float*)gradient.data_ptr();
  int64_t scored = 0;
  for (int64_t n = 0; n < N; ++n) {
    STD_TORCH_CHECK(target[n] == ignored || (0 <= target[n] && target[n] < V), "a target that is no token");
    scored += target[n] != ignored;
  }
  const Row row(V);
  const float weight = 1.0f / scored;
  double nats = 0;
  for (int64_t first = 0; first < N; first += ROWS) {
    const int rows = N - first < ROWS ? N - first : ROWS;
    float top[ROWS], total[ROWS];
    for (int r = 0; r < rows; ++r) top[r] = row.largest(logit + (first + r) * V);
    for (int r = 0; r < rows; ++r)
      total[r] = row.powers(logit + (first + r) * V, slope + (first + r) * V, top[r]);
    for (int r = 0; r < rows; ++r) {
      const int64_t n = first + r;
      if (target[n] == ignored) {
        memset(slope + n * V, 0, V * sizeof(float));
        continue;
      }
      row.multiply(slope + n * V, weight / total[r]);
      slope[n * V + target[n]] -= weight;
      nats += top[r] - logit[n * V + target[n]] + logf(total[r]);
    }
  }
  *(float*)loss.data_ptr() = nats / scored;
  return {loss, gradient};
}
"""
