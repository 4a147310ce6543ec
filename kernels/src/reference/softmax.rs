use crate::View;

/// Softmax over channels; dense NHWC.
pub fn softmax(input_scale: f32, (y_scale, y_zero_point): (f32, u8), x: View) -> Vec<u8> {
    let mut y = Vec::with_capacity(x.shape().len());
    let zero = i32::from(y_zero_point);
    for i in 0..x.shape().pixels() {
        let max = x.pixel(i).iter().copied().max().unwrap_or(0);
        let exp = |q: u8| exp(-f64::from(input_scale) * f64::from(max - q));
        let mut sum = 0.0;
        for &q in x.pixel(i) {
            sum += exp(q);
        }
        for &q in x.pixel(i) {
            let v = (exp(q) / sum) as f32 / y_scale;
            let v = v.clamp(-zero as f32, (255 - zero) as f32);
            y.push((v.round_ties_even() as i32 + zero) as u8);
        }
    }
    y
}

/// e^x: x is cut into a multiple of ln 2 (in two parts) and a rest, whose Taylor series runs to
/// the fourteenth power.
fn exp(x: f64) -> f64 {
    if x < -708.0 {
        return 0.0;
    }
    let n = (x * std::f64::consts::LOG2_E).round_ties_even();
    let high = f64::from_bits(0x3FE6_2E42_FEE0_0000);
    let rest = (x - n * high) - n * 1.908_214_929_270_587_7e-10;
    let mut sum = 1.0;
    for k in (1..=14).rev() {
        sum = 1.0 + sum * rest / f64::from(k);
    }
    sum * 2.0_f64.powi(n as i32)
}
