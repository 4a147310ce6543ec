//! VGG16: five blocks of 3×3 convolutions.

use seam_tuner::layer_graph::Value;

use super::{Builder, Net, window};

pub(crate) fn vgg16() -> Net {
    let mut n = Builder::new("vgg16", 224);
    let mut x = Value::Input;
    for (block, layers, channels) in
        [(1, 2, 64), (2, 2, 128), (3, 3, 256), (4, 3, 512), (5, 3, 512)]
    {
        for layer in 1..=layers {
            x = n.conv(x, &format!("conv{block}_{layer}"), channels, window(3).pad(1));
            x = n.relu(x, &format!("relu{block}_{layer}"));
        }
        x = n.max_pool(x, &format!("pool{block}"), window(2).stride(2));
    }
    n.classifier(x);
    n.finish()
}
