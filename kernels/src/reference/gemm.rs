/// gemmlowp's product: `sum_k (lhs[m, k] + lhs_offset) * (rhs[k, n] + rhs_offset)` of a row-major
/// `m × k` and a row-major `k × n` matrix, wrapping as gemmlowp's accumulators do.
pub fn gemm(
    [m, k, n]: [usize; 3],
    lhs: &[u8],
    lhs_offset: i32,
    rhs: &[u8],
    rhs_offset: i32,
) -> Vec<i32> {
    let mut out = Vec::with_capacity(m * n);
    for i in 0..m {
        for j in 0..n {
            let mut sum = 0i32;
            for l in 0..k {
                let a = i32::from(lhs[i * k + l]) + lhs_offset;
                let b = i32::from(rhs[l * n + j]) + rhs_offset;
                sum = sum.wrapping_add(a.wrapping_mul(b));
            }
            out.push(sum);
        }
    }
    out
}
