//! ResNet-18, the Caffe variant: BatchNormalization behind every convolution, and a 1×1 projection
//! in the first block of every stage, that of res2a included.

use seam_tuner::layer_graph::Value;

use super::{Builder, Net, window};

pub(crate) fn resnet18() -> Net {
    let mut n = Builder::new("resnet18", 224);
    let mut x = n.conv_bn(Value::Input, "conv1", "bn_conv1", 64, window(7).stride(2).pad(3));
    x = n.relu(x, "conv1_relu");
    x = n.max_pool(x, "pool1", window(3).stride(2));
    for (stage, channels) in [(2, 64), (3, 128), (4, 256), (5, 512)] {
        let stride = if stage == 2 { 1 } else { 2 };
        x = block(&mut n, x, &format!("{stage}a"), channels, stride, true);
        x = block(&mut n, x, &format!("{stage}b"), channels, 1, false);
    }
    x = n.average_pool(x, "pool5");
    x = n.flatten(x, "flatten");
    x = n.fully_connected(x, "fc1000", 1000);
    n.softmax(x, "prob");
    n.finish()
}

fn block(
    n: &mut Builder,
    x: Value,
    name: &str,
    channels: usize,
    stride: usize,
    projected: bool,
) -> Value {
    let (res, bn) = (|branch: &str| format!("res{name}{branch}"), format!("bn{name}_branch"));
    let shortcut = match projected {
        true => {
            let one = window(1).stride(stride);
            n.conv_bn(x, &res("_branch1"), &format!("{bn}1"), channels, one)
        }
        false => x,
    };
    let three = window(3).pad(1);
    let mut y = n.conv_bn(x, &res("_branch2a"), &format!("{bn}2a"), channels, three.stride(stride));
    y = n.relu(y, &res("_branch2a_relu"));
    y = n.conv_bn(y, &res("_branch2b"), &format!("{bn}2b"), channels, three);
    let sum = n.add(shortcut, y, &res(""));
    n.relu(sum, &res("_relu"))
}
