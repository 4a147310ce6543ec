//! What the kernels' tests share: golden vectors, how many cases a property is tried on, buffers
//! that end at an unmapped page, and a small generator of bytes.

#![allow(dead_code, unreachable_pub)]

use std::ops::{Deref, DerefMut};
use std::path::PathBuf;

use proptest::test_runner::Config;
use serde::Deserialize;
use serde_json::{Map, Value};

/// A group of golden cases: `<group>.json` and `<group>.bin`.
pub struct Golden {
    pub cases: Vec<Case>,
}

/// One golden case.
pub struct Case {
    pub name: String,
    pub op: String,
    pub attrs: Map<String, Value>,
    pub params: Map<String, Value>,
    tensors: Map<String, Value>,
    bytes: std::sync::Arc<Vec<u8>>,
}

#[derive(Deserialize)]
struct File {
    format: u32,
    bin: String,
    bin_bytes: usize,
    cases: Vec<Record>,
}

#[derive(Deserialize)]
struct Record {
    name: String,
    op: String,
    attrs: Map<String, Value>,
    params: Map<String, Value>,
    tensors: Map<String, Value>,
}

/// The folder of golden vectors beside the checkout; `None`, with a line that says so, where it is
/// absent, unless `SEAM_REQUIRE_SHARED=1`.
pub fn golden_folder() -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/golden");
    if folder.is_dir() {
        return Some(folder);
    }
    let required = std::env::var_os("SEAM_REQUIRE_SHARED").is_some_and(|v| v == "1");
    assert!(!required, "SEAM_REQUIRE_SHARED=1, and ../shared/golden is not there");
    println!("skipped: ../shared/golden is not there");
    None
}

/// The cases of `group`, as `qlinear/qlinear_conv`.
pub fn golden(group: &str) -> Option<Golden> {
    let path = golden_folder()?.join(group).with_extension("json");
    let file: File = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(file.format, 1);
    let bytes = std::fs::read(path.with_file_name(file.bin)).unwrap();
    assert_eq!(bytes.len(), file.bin_bytes);
    let bytes = std::sync::Arc::new(bytes);
    let case = |r: Record| Case {
        name: r.name,
        op: r.op,
        attrs: r.attrs,
        params: r.params,
        tensors: r.tensors,
        bytes: bytes.clone(),
    };
    let cases: Vec<Case> = file.cases.into_iter().map(case).collect();
    assert!(!cases.is_empty());
    Some(Golden { cases })
}

impl Case {
    /// An integer parameter.
    pub fn int(&self, name: &str) -> i64 {
        self.params[name].as_i64().unwrap()
    }

    /// A real parameter.
    pub fn real(&self, name: &str) -> f32 {
        self.params[name].as_f64().unwrap() as f32
    }

    /// An integer attribute, or `default`.
    pub fn attr(&self, name: &str, default: i64) -> i64 {
        self.attrs.get(name).map_or(default, |v| v.as_i64().unwrap())
    }

    /// An attribute that lists sizes.
    pub fn sizes(&self, name: &str) -> Option<Vec<usize>> {
        let list = self.attrs.get(name)?.as_array().unwrap();
        Some(list.iter().map(|v| v.as_u64().unwrap() as usize).collect())
    }

    pub fn has(&self, tensor: &str) -> bool {
        self.tensors.contains_key(tensor)
    }

    pub fn shape(&self, tensor: &str) -> Vec<usize> {
        let shape = self.tensors[tensor]["shape"].as_array().unwrap();
        shape.iter().map(|v| v.as_u64().unwrap() as usize).collect()
    }

    fn raw(&self, tensor: &str, dtype: &str) -> &[u8] {
        let t = &self.tensors[tensor];
        assert_eq!(t["dtype"], dtype, "{}: {tensor}", self.name);
        let at = |key: &str| t[key].as_u64().unwrap() as usize;
        &self.bytes[at("offset")..][..at("bytes")]
    }

    pub fn u8(&self, tensor: &str) -> Vec<u8> {
        self.raw(tensor, "u8").to_vec()
    }

    pub fn s8(&self, tensor: &str) -> Vec<i8> {
        self.raw(tensor, "s8").iter().map(|&b| b as i8).collect()
    }

    pub fn i32(&self, tensor: &str) -> Vec<i32> {
        let (words, _) = self.raw(tensor, "i32").as_chunks();
        words.iter().map(|&b| i32::from_le_bytes(b)).collect()
    }

    pub fn f32(&self, tensor: &str) -> Vec<f32> {
        let (words, _) = self.raw(tensor, "f32").as_chunks();
        words.iter().map(|&b| f32::from_le_bytes(b)).collect()
    }
}

/// `[outer][channels][pixels]` to `[outer][pixels][channels]`: NCHW to NHWC, or OIHW to OHWI.
pub fn channels_last<T: Copy>(data: &[T], channels: usize, pixels: usize) -> Vec<T> {
    let mut out = Vec::with_capacity(data.len());
    for image in data.chunks(channels * pixels) {
        for pixel in 0..pixels {
            out.extend((0..channels).map(|c| image[c * pixels + pixel]));
        }
    }
    out
}

/// How to try a property on `cases` values, or on as many as `PROPTEST_CASES` says where that is
/// fewer: an emulated CPU is slow.
pub fn config(cases: u32) -> Config {
    let most = std::env::var("PROPTEST_CASES").ok().and_then(|most| most.parse().ok());
    let cases = most.map_or(cases, |most: u32| cases.min(most));
    Config { cases, failure_persistence: None, ..Config::default() }
}

/// Bytes that end where the next page cannot be touched.
pub struct Guarded {
    memory: region::Allocation,
    start: usize,
    len: usize,
}

impl Guarded {
    /// `len` bytes, all `fill`.
    pub fn new(len: usize, fill: u8) -> Guarded {
        Guarded::aligned(len, fill, 1)
    }

    /// `len` bytes, all `fill`, from a multiple of `align` on; up to `align - 1` bytes of slack
    /// before the page.
    pub fn aligned(len: usize, fill: u8, align: usize) -> Guarded {
        let page = region::page::size();
        let body = len.next_multiple_of(page).max(page);
        let mut memory = region::alloc(body + page, region::Protection::READ_WRITE).unwrap();
        // SAFETY: the last page is the allocation's own and nothing lies in it.
        unsafe {
            let guard = memory.as_ptr::<u8>().add(body);
            region::protect(guard, page, region::Protection::NONE).unwrap();
            memory.as_mut_ptr::<u8>().write_bytes(fill, body);
        }
        Guarded { memory, start: body - len.next_multiple_of(align), len }
    }

    /// A copy of `bytes`.
    pub fn from(bytes: &[u8]) -> Guarded {
        let mut guarded = Guarded::new(bytes.len(), 0);
        guarded.copy_from_slice(bytes);
        guarded
    }
}

impl Deref for Guarded {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `start + len` is the end of the pages that may be read, all written by `new`.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr::<u8>().add(self.start), self.len) }
    }
}

impl DerefMut for Guarded {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed mutably.
        unsafe {
            std::slice::from_raw_parts_mut(self.memory.as_mut_ptr::<u8>().add(self.start), self.len)
        }
    }
}

/// A generator of reproducible numbers (xorshift64*).
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.next() as usize % n
    }

    pub fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next() as u8).collect()
    }
}
