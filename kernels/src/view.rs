//! Activations in memory: NHWC at batch 1, with a pixel stride.
//!
//! A pixel is `c` consecutive bytes; the next pixel of a row starts `pixel_stride` bytes later and
//! rows follow each other without a gap. `pixel_stride > c` is a slice of channels inside a wider
//! tensor: that is how concat costs nothing.

/// Height, width and channels of an activation tensor (batch is 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Rows.
    pub h: usize,
    /// Pixels in a row.
    pub w: usize,
    /// Channels of a pixel.
    pub c: usize,
}

impl Shape {
    /// `h` rows of `w` pixels of `c` channels.
    pub const fn new(h: usize, w: usize, c: usize) -> Shape {
        Shape { h, w, c }
    }

    /// Elements.
    pub const fn len(self) -> usize {
        self.h * self.w * self.c
    }

    /// No element at all.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Pixels.
    pub const fn pixels(self) -> usize {
        self.h * self.w
    }

    /// `len` bytes hold the pixels, `pixel_stride` bytes apart.
    fn fits(self, pixel_stride: usize, len: usize) -> bool {
        let span = || match self.h.checked_mul(self.w)? {
            0 => Some(0),
            pixels => (pixels - 1).checked_mul(pixel_stride)?.checked_add(self.c),
        };
        pixel_stride >= self.c && span().is_some_and(|span| span <= len)
    }

    /// Bytes from the first to the last byte when pixels lie `pixel_stride` apart.
    pub const fn span(self, pixel_stride: usize) -> usize {
        if self.is_empty() { 0 } else { (self.pixels() - 1) * pixel_stride + self.c }
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}x{}", self.h, self.w, self.c)
    }
}

/// An activation tensor to read.
#[derive(Clone, Copy)]
pub struct View<'a> {
    data: &'a [u8],
    shape: Shape,
    pixel_stride: usize,
}

/// An activation tensor to write; the bytes between its pixels stay as they are.
pub struct ViewMut<'a> {
    data: &'a mut [u8],
    shape: Shape,
    pixel_stride: usize,
}

impl<'a> View<'a> {
    /// `shape` elements of `data`, pixels `pixel_stride` bytes apart.
    ///
    /// # Panics
    /// `pixel_stride < shape.c`, or `data` is shorter than `shape.span(pixel_stride)`.
    pub fn new(data: &'a [u8], shape: Shape, pixel_stride: usize) -> View<'a> {
        assert!(shape.fits(pixel_stride, data.len()));
        View { data, shape, pixel_stride }
    }

    /// A tensor without gaps.
    ///
    /// # Panics
    /// `data` is shorter than `shape`.
    pub fn dense(data: &'a [u8], shape: Shape) -> View<'a> {
        View::new(data, shape, shape.c)
    }

    /// The bytes from the first pixel on; kernels read no byte outside of them.
    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// Height, width, channels.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Bytes from one pixel to the next.
    pub fn pixel_stride(&self) -> usize {
        self.pixel_stride
    }

    /// The channels of pixel `i`, counted row by row.
    pub fn pixel(&self, i: usize) -> &'a [u8] {
        &self.data[i * self.pixel_stride..][..self.shape.c]
    }
}

impl<'a> ViewMut<'a> {
    /// `shape` elements of `data`, pixels `pixel_stride` bytes apart.
    ///
    /// # Panics
    /// `pixel_stride < shape.c`, or `data` is shorter than `shape.span(pixel_stride)`.
    pub fn new(data: &'a mut [u8], shape: Shape, pixel_stride: usize) -> ViewMut<'a> {
        assert!(shape.fits(pixel_stride, data.len()));
        ViewMut { data, shape, pixel_stride }
    }

    /// A tensor without gaps.
    ///
    /// # Panics
    /// `data` is shorter than `shape`.
    pub fn dense(data: &'a mut [u8], shape: Shape) -> ViewMut<'a> {
        ViewMut::new(data, shape, shape.c)
    }

    /// The bytes from the first pixel on.
    pub fn data(&mut self) -> &mut [u8] {
        self.data
    }

    /// Height, width, channels.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Bytes from one pixel to the next.
    pub fn pixel_stride(&self) -> usize {
        self.pixel_stride
    }

    /// The channels of pixel `i`, counted row by row.
    pub fn pixel(&mut self, i: usize) -> &mut [u8] {
        &mut self.data[i * self.pixel_stride..][..self.shape.c]
    }

    /// The same tensor to read.
    pub fn as_view(&self) -> View<'_> {
        View { data: self.data, shape: self.shape, pixel_stride: self.pixel_stride }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::catch_unwind;

    #[test]
    fn a_view_holds_its_pixels_or_is_refused() {
        let refused = |shape: Shape, pixel_stride: usize| {
            catch_unwind(|| View::new(&[0; 12], shape, pixel_stride)).is_err()
                && catch_unwind(|| ViewMut::new(&mut [0; 12], shape, pixel_stride).shape()).is_err()
        };
        let shape = Shape::new(1, 3, 2);
        assert!(!refused(shape, 2) && !refused(shape, 5));
        assert!(refused(shape, 6), "14 bytes");
        assert!(refused(shape, 1), "pixels overlap");
        // Spans that wrap to 1 and 2.
        assert!(refused(Shape::new(1, 3, 1), 1 << 63));
        assert!(refused(Shape::new(1 << 63, 2, 2), 2));
    }
}
