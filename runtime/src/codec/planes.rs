//! Channel by channel: the order in which codecs for bytes in general find the most to save, since
//! neighbours of one channel are alike and channels are not.

use seam_kernels::Shape;

/// Pixels turned at a time: as many bytes of every channel are written at once.
const BLOCK: usize = 16;

/// Writes the pixels of `codes` (NHWC) channel by channel to `planes`, of the same length.
pub(super) fn split(shape: Shape, codes: &[u8], planes: &mut [u8]) {
    turn(shape, |pixel, plane| planes[plane] = codes[pixel]);
}

/// Undoes [`split`].
pub(super) fn merge(shape: Shape, planes: &[u8], codes: &mut [u8]) {
    turn(shape, |pixel, plane| codes[pixel] = planes[plane]);
}

/// Calls `copy` with every code's place in either order.
fn turn(shape: Shape, mut copy: impl FnMut(usize, usize)) {
    let (pixels, channels) = (shape.pixels(), shape.c);
    for block in (0..pixels).step_by(BLOCK) {
        for channel in 0..channels {
            for pixel in block..pixels.min(block + BLOCK) {
                copy(pixel * channels + channel, channel * pixels + pixel);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_come_one_after_the_other_and_go_back() {
        // Eighteen pixels of two channels: a whole block and the rest of one.
        let shape = Shape::new(3, 6, 2);
        let codes: Vec<u8> = (0..36).collect();
        let mut planes = vec![0; 36];
        split(shape, &codes, &mut planes);
        assert!(planes[..18].iter().enumerate().all(|(i, &code)| usize::from(code) == 2 * i));
        assert!(planes[18..].iter().enumerate().all(|(i, &code)| usize::from(code) == 2 * i + 1));
        let mut back = vec![0; 36];
        merge(shape, &planes, &mut back);
        assert_eq!(back, codes);
    }
}
