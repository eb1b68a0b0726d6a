"""Products of experts with the rows that they took, in C++: see `capacity.models.expert_products`.

Half of the places that experts have for rows are empty where they have room for twice their share (capacity 2), and a
batched product multiplies those too. Here each expert has a product of its own, by torch's function for matrices.
"""

SOURCE = r"""
// The first `rows` rows of matrix e among t (E, C, D), whatever its strides.
Tensor matrix(const Tensor& t, int64_t e, int64_t rows) {
  return torch::stable::from_blob((float*)t.data_ptr() + e * t.stride(0), {rows, t.size(2)}, {t.stride(1), t.stride(2)},
                                  t.device(), t.scalar_type());
}

// How many rows expert e took.
int64_t taken_by(const Tensor& taken, int64_t e, int64_t C) {
  const int64_t rows = ((const int64_t*)taken.data_ptr())[e * taken.stride(0)];
  STD_TORCH_CHECK(0 <= rows && rows <= C, "more rows than an expert has room for");
  return rows;
}

void multiply(const Tensor& left, const Tensor& right, const Tensor& out) {
  STD_TORCH_CHECK(aoti_torch_cpu_mm_out(out.get(), left.get(), right.get()) == AOTI_TORCH_SUCCESS, "no product");
}

// rows (E, C, D) by matrices (E, D, M): (E, C, M), zeros from taken (E) on.
Tensor expert_products(Tensor rows, Tensor matrices, Tensor taken) {
  const int64_t E = rows.size(0), C = rows.size(1), D = rows.size(2), M = matrices.size(2);
  STD_TORCH_CHECK(matrices.size(0) == E && matrices.size(1) == D && taken.size(0) == E, "experts of other shapes");
  Tensor out = torch::stable::new_empty(rows, {E, C, M});
  for (int64_t e = 0; e < E; ++e) {
    const int64_t n = taken_by(taken, e, C);
    multiply(matrix(rows, e, n), matrix(matrices, e, D), matrix(out, e, n));
    memset((float*)out.data_ptr() + (e * C + n) * M, 0, (C - n) * M * sizeof(float));
  }
  return out;
}

// Of left (E, C, D) and right (E, C, M): the sums of left^T right over the rows that were taken, (E, D, M).
Tensor expert_sums(Tensor left, Tensor right, Tensor taken) {
  const int64_t E = left.size(0), C = left.size(1), D = left.size(2), M = right.size(2);
  STD_TORCH_CHECK(right.size(0) == E && right.size(1) == C && taken.size(0) == E, "experts of other shapes");
  Tensor out = torch::stable::new_empty(left, {E, D, M});
  for (int64_t e = 0; e < E; ++e) {
    const int64_t n = taken_by(taken, e, C);
    multiply(torch::stable::transpose(matrix(left, e, n), 0, 1), matrix(right, e, n), matrix(out, e, D));
  }
  return out;
}
"""
