//! Patches of images (im2col) that are never written down: offsets into an image with a border.
//!
//! ```text
//! patches(x)[o, t·C + c] = bordered x[ place of window o  +  place of tap t  +  c ]
//! ```
//! With a border of zeros around the image, where a window's tap lies is the sum of what the window
//! says and what the tap says, and nothing has to be asked on the way. So the matrix product reads
//! patches out of the image itself, by two tables of offsets: see `product.rs`.

use std::ops::Range;

use super::window::Window;
use crate::scalar::Scalar;

/// An image, channels last, with a border of zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bordered {
    /// Rows and columns of the image.
    size: [usize; 2],
    /// Rows and columns of zeros above and left of it.
    before: [usize; 2],
    /// Rows and columns with the border.
    whole: [usize; 2],
    channels: usize,
}

impl Bordered {
    /// The larger side, so that no window leaves it.
    pub fn larger(window: &Window, channels: usize) -> Self {
        let (size, before, map) = (window.size, window.padding, window.map());
        let reach = |i: usize| (map[i] - 1) * window.stride[i] + window.span()[i];
        Bordered {
            size,
            before,
            whole: [0, 1].map(|i| reach(i).max(before[i] + size[i])),
            channels,
        }
    }

    /// The smaller side, so that every window that would see a pixel of the larger one is in it.
    pub fn smaller(window: &Window, channels: usize) -> Self {
        let size = window.map();
        let phases = |i: usize| (0..window.stride[i]).filter_map(move |r| Phase::of(window, i, r));
        let before = [0, 1].map(|i| {
            let needed = phases(i).map(|phase| phase.most.saturating_sub(phase.quotient));
            needed.max().unwrap_or(0)
        });
        let after = |i: usize| {
            let needed = phases(i)
                .map(|phase| (phase.quotient + phase.count).saturating_sub(phase.least + size[i]));
            needed.max().unwrap_or(0)
        };
        Bordered {
            size,
            before,
            whole: [0, 1].map(|i| before[i] + size[i] + after(i)),
            channels,
        }
    }

    /// Reals of one image with its border.
    pub fn len(&self) -> usize {
        self.whole[0] * self.whole[1] * self.channels
    }

    /// Where a row and column, counted with the border, starts.
    pub fn place(&self, row: usize, col: usize) -> usize {
        (row * self.whole[1] + col) * self.channels
    }

    fn lines(&self) -> Range<usize> {
        self.before[0]..self.before[0] + self.size[0]
    }

    /// Copies an image into a border.
    pub fn frame<T: Scalar>(&self, image: &[T], whole: &mut [T]) {
        let (line, width) = (self.size[1] * self.channels, self.whole[1] * self.channels);
        let (left, lines) = (self.before[1] * self.channels, self.lines());
        for (row, whole) in whole.chunks_exact_mut(width).enumerate() {
            if !lines.contains(&row) {
                whole.fill(T::zero());
                continue;
            }
            let image = &image[(row - lines.start) * line..][..line];
            whole[..left].fill(T::zero());
            whole[left..left + line].copy_from_slice(image);
            whole[left + line..].fill(T::zero());
        }
    }

    /// Copies the image out of its border: [`frame`](Self::frame)'s adjoint.
    pub fn unframe<T: Scalar>(&self, whole: &[T], image: &mut [T]) {
        let line = self.size[1] * self.channels;
        for (row, image) in self.lines().zip(image.chunks_exact_mut(line)) {
            image.copy_from_slice(&whole[self.place(row, self.before[1])..][..line]);
        }
    }

    /// Where the windows' upper left corners lie, position by position.
    pub fn corners(&self, window: &Window) -> impl Iterator<Item = usize> {
        let ([rows, cols], [down, right]) = (window.map(), window.stride);
        let place = move |row, col| self.place(row * down, col * right);
        (0..rows).flat_map(move |row| (0..cols).map(move |col| place(row, col)))
    }

    /// Where the taps lie from there, tap by tap with all channels.
    pub fn taps(&self, window: &Window) -> impl Iterator<Item = usize> {
        let ([rows, cols], [down, right]) = (window.kernel, window.dilation);
        let place = move |row, col| self.place(row * down, col * right);
        (0..rows)
            .flat_map(move |row| (0..cols).map(move |col| place(row, col)))
            .flat_map(|tap| tap..tap + self.channels)
    }

    /// `whole[corner + tap] += patches[position, tap]`: the adjoint of reading patches, which lie `line`
    /// apart.
    pub fn scatter<T: Scalar>(
        &self,
        window: &Window,
        (patches, line): (&[T], usize),
        whole: &mut [T],
    ) {
        let ([_, cols], [down, right]) = (window.map(), window.stride);
        let (below, right) = (self.place(down, 0), self.place(0, right));
        for (tap, place) in self.taps(window).enumerate() {
            let rows = whole[place..].chunks_mut(below);
            for (whole, patches) in rows.zip(patches.chunks_exact(cols * line)) {
                let taps = patches.iter().skip(tap).step_by(line);
                let targets = whole.iter_mut().step_by(right);
                targets.zip(taps).for_each(|(target, &tap)| *target += tap);
            }
        }
    }
}

/// In one direction, the pixels of the larger side that the same taps fall on: `first`,
/// `first + stride`, …
///
/// ```text
/// tap t of window o falls on pixel   o · stride + t · dilation − padding
/// pixel q · stride + r − padding     is under tap t of window q − s    where t · dilation = s · stride + r
/// ```
#[derive(Clone, Copy, Debug)]
pub(super) struct Phase {
    /// r
    remainder: usize,
    /// The first such pixel.
    pub first: usize,
    /// How many there are.
    pub count: usize,
    /// q of the first.
    quotient: usize,
    /// Least s.
    least: usize,
    /// Greatest s.
    most: usize,
}

impl Phase {
    /// None if it has no pixel or no tap.
    pub fn of(window: &Window, i: usize, remainder: usize) -> Option<Phase> {
        let (stride, padding) = (window.stride[i], window.padding[i]);
        let quotient = padding.saturating_sub(remainder).div_ceil(stride);
        let first = quotient * stride + remainder - padding;
        let count = window.size[i].checked_sub(first)?.div_ceil(stride);
        let mut taps = Phase::taps(window, i, remainder);
        let (_, least) = taps.next()?;
        let most = taps.last().map_or(least, |(_, shift)| shift);
        (count > 0).then_some(Phase {
            remainder,
            first,
            count,
            quotient,
            least,
            most,
        })
    }

    /// Its taps t, each with its s.
    fn taps(
        window: &Window,
        i: usize,
        remainder: usize,
    ) -> impl Iterator<Item = (usize, usize)> + Clone {
        let (stride, dilation) = (window.stride[i], window.dilation[i]);
        (0..window.kernel[i])
            .map(move |tap| (tap, tap * dilation))
            .filter(move |(_, reach)| reach % stride == remainder)
            .map(move |(tap, reach)| (tap, reach / stride))
    }
}

/// A phase in both directions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Phases<'a> {
    window: &'a Window,
    pair: [Phase; 2],
}

impl<'a> Phases<'a> {
    /// All that have pixels and taps.
    pub fn all(window: &'a Window) -> impl Iterator<Item = Phases<'a>> {
        let of = move |i: usize| (0..window.stride[i]).filter_map(move |r| Phase::of(window, i, r));
        of(0).flat_map(move |rows| {
            of(1).map(move |cols| Phases {
                window,
                pair: [rows, cols],
            })
        })
    }

    /// Pixels.
    pub fn pixels(&self) -> usize {
        self.pair[0].count * self.pair[1].count
    }

    fn pairs(&self) -> impl Iterator<Item = [usize; 2]> {
        let [rows, cols] = self.pair.map(|phase| phase.count);
        (0..rows).flat_map(move |row| (0..cols).map(move |col| [row, col]))
    }

    /// The pixels' indices on the larger side.
    pub fn places(&self) -> impl Iterator<Item = usize> {
        let ([rows, cols], window) = (self.pair, self.window);
        self.pairs().map(move |[row, col]| {
            (rows.first + row * window.stride[0]) * window.size[1]
                + cols.first
                + col * window.stride[1]
        })
    }

    /// Where, on the bordered smaller side, the earliest window that sees each pixel lies.
    pub fn earliest(&self, side: &Bordered) -> impl Iterator<Item = usize> {
        let at = |i: usize, index: usize| {
            side.before[i] + self.pair[i].quotient + index - self.pair[i].most
        };
        self.pairs()
            .map(move |[row, col]| side.place(at(0, row), at(1, col)))
    }

    /// The taps' indices in the kernel, each with where the window that has it over a pixel lies from the
    /// earliest.
    pub fn taps(&self, side: &Bordered) -> impl Iterator<Item = (usize, usize)> {
        let [rows, cols] = self.pair;
        let cols_of = Phase::taps(self.window, 1, cols.remainder);
        Phase::taps(self.window, 0, rows.remainder).flat_map(move |(row, down)| {
            cols_of.clone().map(move |(col, right)| {
                let place = side.place(rows.most - down, cols.most - right);
                (row * self.window.kernel[1] + col, place)
            })
        })
    }
}
