use crate::{Shape, View};

/// Every code replaced by the table's; dense NHWC.
pub fn look_up(table: &[u8; 256], x: View) -> Vec<u8> {
    let pixels = (0..x.shape().pixels()).flat_map(|i| x.pixel(i));
    pixels.map(|&q| table[usize::from(q)]).collect()
}

/// Elements `start + step * i` of every axis; dense NHWC.
pub fn slice(start: [usize; 3], step: [usize; 3], x: View, output: Shape) -> Vec<u8> {
    let mut y = Vec::with_capacity(output.len());
    for row in 0..output.h {
        for column in 0..output.w {
            for channel in 0..output.c {
                let from = (start[0] + row * step[0]) * x.shape().w + start[1] + column * step[1];
                y.push(x.pixel(from)[start[2] + channel * step[2]]);
            }
        }
    }
    y
}

/// `x` inside `value`; dense NHWC.
pub fn pad(before: [usize; 3], value: u8, x: View, output: Shape) -> Vec<u8> {
    let mut y = vec![value; output.len()];
    for row in 0..x.shape().h {
        for column in 0..x.shape().w {
            for channel in 0..x.shape().c {
                let to = (before[0] + row) * output.w + before[1] + column;
                y[to * output.c + before[2] + channel] =
                    x.pixel(row * x.shape().w + column)[channel];
            }
        }
    }
    y
}
