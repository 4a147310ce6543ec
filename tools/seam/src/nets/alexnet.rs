//! AlexNet: conv2, conv4 and conv5 in two groups, LRN in front of the pools.

use seam_tuner::layer_graph::Value;

use super::{Builder, Net, window};

pub(crate) fn alexnet() -> Net {
    let mut n = Builder::new("alexnet", 227);
    let mut x = n.conv(Value::Input, "conv1", 96, window(11).stride(4));
    x = n.relu(x, "relu1");
    x = n.lrn(x, "norm1");
    x = n.max_pool(x, "pool1", window(3).stride(2));
    x = n.conv_in_two(x, "conv2", 256, window(5).pad(2));
    x = n.relu(x, "relu2");
    x = n.lrn(x, "norm2");
    x = n.max_pool(x, "pool2", window(3).stride(2));
    x = n.conv(x, "conv3", 384, window(3).pad(1));
    x = n.relu(x, "relu3");
    x = n.conv_in_two(x, "conv4", 384, window(3).pad(1));
    x = n.relu(x, "relu4");
    x = n.conv_in_two(x, "conv5", 256, window(3).pad(1));
    x = n.relu(x, "relu5");
    x = n.max_pool(x, "pool5", window(3).stride(2));
    n.classifier(x);
    n.finish()
}
