//! From an image to the input tensor's codes: crop and resize, then one 256-entry table a channel.

/// How an image becomes the network's input: geometry in the order given, then
/// `(pixel * scale - mean) / std` per channel of the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Preprocess {
    /// Crops and resizes, in order.
    pub geometry: Vec<Geometry>,
    /// What the network's channels are.
    pub channels: Channels,
    /// Multiplies every pixel (0..=255).
    pub scale: f32,
    /// One per channel of the network.
    pub mean: Vec<f32>,
    /// One per channel of the network; not zero.
    pub std: Vec<f32>,
}

/// One crop or resize (Pillow's antialiased bilinear).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Geometry {
    /// The middle `height`×`width` pixels; offsets are rounded down.
    CenterCrop {
        /// Rows.
        height: u32,
        /// Columns.
        width: u32,
    },
    /// To `height`×`width`, whatever the aspect.
    Resize {
        /// Rows.
        height: u32,
        /// Columns.
        width: u32,
    },
    /// The short side to this many pixels, the aspect kept.
    ShortSide(u32),
}

/// The channels of a network's input, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// Luma, as Pillow's `L`.
    Gray,
}
