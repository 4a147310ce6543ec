//! GoogLeNet without its auxiliary heads.

use seam_tuner::layer_graph::Value;

use super::{Builder, Net, window};

pub(crate) fn googlenet() -> Net {
    let mut n = Builder::new("googlenet", 224);
    let halved = window(3).stride(2);
    let mut x = layer(&mut n, Value::Input, "conv1", 64, 7, 2);
    x = n.max_pool(x, "pool1", halved);
    x = n.lrn(x, "norm1");
    x = layer(&mut n, x, "conv2_reduce", 64, 1, 1);
    x = layer(&mut n, x, "conv2", 192, 3, 1);
    x = n.lrn(x, "norm2");
    x = n.max_pool(x, "pool2", halved);
    x = inception(&mut n, x, "3a", [64, 96, 128, 16, 32, 32]);
    x = inception(&mut n, x, "3b", [128, 128, 192, 32, 96, 64]);
    x = n.max_pool(x, "pool3", halved);
    x = inception(&mut n, x, "4a", [192, 96, 208, 16, 48, 64]);
    x = inception(&mut n, x, "4b", [160, 112, 224, 24, 64, 64]);
    x = inception(&mut n, x, "4c", [128, 128, 256, 24, 64, 64]);
    x = inception(&mut n, x, "4d", [112, 144, 288, 32, 64, 64]);
    x = inception(&mut n, x, "4e", [256, 160, 320, 32, 128, 128]);
    x = n.max_pool(x, "pool4", halved);
    x = inception(&mut n, x, "5a", [256, 160, 320, 32, 128, 128]);
    x = inception(&mut n, x, "5b", [384, 192, 384, 48, 128, 128]);
    x = n.average_pool(x, "pool5");
    x = n.flatten(x, "flatten");
    x = n.fully_connected(x, "classifier", 1000);
    n.softmax(x, "prob");
    n.finish()
}

/// Channels of the branches: 1×1; 3×3 behind its reduction; 5×5 behind its own; pool.
fn inception(n: &mut Builder, x: Value, block: &str, channels: [usize; 6]) -> Value {
    let [one, three_reduce, three, five_reduce, five, pool] = channels;
    let name = |part: &str| format!("inception_{block}_{part}");
    let a = layer(n, x, &name("1x1"), one, 1, 1);
    let b = layer(n, x, &name("3x3_reduce"), three_reduce, 1, 1);
    let b = layer(n, b, &name("3x3"), three, 3, 1);
    let c = layer(n, x, &name("5x5_reduce"), five_reduce, 1, 1);
    let c = layer(n, c, &name("5x5"), five, 5, 1);
    let d = n.max_pool(x, &name("pool"), window(3).pad(1));
    let d = layer(n, d, &name("pool_proj"), pool, 1, 1);
    n.concat(&[a, b, c, d], &name("output"))
}

/// A convolution that keeps the size at stride 1, and its ReLU.
fn layer(
    n: &mut Builder,
    x: Value,
    name: &str,
    outputs: usize,
    kernel: usize,
    stride: usize,
) -> Value {
    let x = n.conv(x, name, outputs, window(kernel).stride(stride).pad(kernel / 2));
    n.relu(x, &format!("{name}_relu"))
}
