//! Training images on their way to a device that cannot hold them all.
//!
//! The device then holds a window: the images of some steps, in the epoch's order. While it works on
//! them, a thread reads those of the next.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use crate::data::{DataError, Images};
use crate::machine::memory_limit;

use super::TrainError;

/// Bytes of a window, unless `--window` says more or less: its transfer is hidden behind its steps.
const WINDOW_BYTES: u64 = 64 << 20;

/// How many steps' images, `bytes` each step, lie on a device whose buffers hold `largest` bytes: all
/// `steps` of an epoch if the whole set of `all` bytes fits, else as many as make a window.
pub(super) fn window(steps: usize, bytes: u64, all: u64, largest: u64) -> usize {
    // The rest of the memory is for the host's own copy, the model and other programs.
    match all <= largest.min(memory_limit() / 4) {
        true => steps,
        false => (largest.min(WINDOW_BYTES) / bytes).max(1) as usize,
    }
}

/// The windows of an epoch from some step on, one after the other.
pub(super) struct Windows {
    read: Receiver<Result<Vec<u8>, DataError>>,
}

impl Windows {
    /// Begins to read the images at `order`, `window` of them at a time. There are never more than
    /// two windows in the host's memory: one that waits or is being read, one that was taken.
    pub fn start(images: Images, order: Vec<u32>, window: usize) -> Result<Windows, TrainError> {
        let (sender, read) = sync_channel(0);
        let work = move || {
            for indices in order.chunks(window) {
                let result = read_window(&images, indices, window);
                // Nobody waits any more if the epoch was given up.
                if sender.send(result).is_err() {
                    return;
                }
            }
        };
        let builder = thread::Builder::new().name("images".to_owned());
        builder.spawn(work).map_err(TrainError::Thread)?;
        Ok(Windows { read })
    }

    /// The next window's bytes; as long as any other, the last one too.
    pub fn next(&mut self) -> Result<Vec<u8>, TrainError> {
        let window = self.read.recv().expect("an epoch has as many windows");
        Ok(window?)
    }
}

/// Reads images into memory for `window` of them.
fn read_window(images: &Images, indices: &[u32], window: usize) -> Result<Vec<u8>, DataError> {
    let mut bytes = vec![0; window * images.features()];
    let indices = indices.iter().map(|&index| index as usize);
    images.copy_bytes(indices, &mut bytes)?;
    Ok(bytes)
}
