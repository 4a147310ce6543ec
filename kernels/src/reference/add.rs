use crate::View;

/// The sum of two tensors; dense NHWC. Operands and limits as for [`crate::add::Add`].
pub fn add(
    (a, a_scale, a_zero_point): (View, f32, u8),
    (b, b_scale, b_zero_point): (View, f32, u8),
    (y_scale, y_zero_point): (f32, u8),
    lo: u8,
    hi: u8,
) -> Vec<u8> {
    let ra = a_scale / y_scale;
    let rb = b_scale / y_scale;
    let zeros = ra.mul_add(f32::from(a_zero_point), rb * f32::from(b_zero_point));
    let fixed = f32::from(y_zero_point) - zeros;
    let mut y = Vec::with_capacity(a.shape().len());
    for i in 0..a.shape().pixels() {
        for c in 0..a.shape().c {
            let (qa, qb) = (f32::from(a.pixel(i)[c]), f32::from(b.pixel(i)[c]));
            let v = qa.mul_add(ra, qb.mul_add(rb, fixed));
            y.push(v.clamp(f32::from(lo), f32::from(hi)).round_ties_even() as u8);
        }
    }
    y
}
