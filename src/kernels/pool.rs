//! Pooling: what a window sees of each channel, reduced to its maximum or its mean.
//!
//! ```text
//! max       y[o, c]  = max over taps t of x[under(o, t), c]        argmax[o, c] = that tap
//!           dx[i, c] = Σ dy[o, c] over the windows o whose argmax lies on i
//! average   y[o, c]  = Σ over taps t of x[under(o, t), c] / taps   padding counts as zeros
//!           dx[i, c] = Σ dy[o, c] / taps over the windows o that see i
//!
//! x, dx [N·H·W, C];  y, dy, argmax [N·OH·OW, C]
//! ```
//! As in PyTorch, of equal maxima the first tap wins, a NaN beats all numbers, and padding never
//! wins. Forward saves only the argmax for backward. Both backwards visit the windows of each
//! position in order, so overlapping windows need no atomics.

pub mod definition;

use super::parallel::{chunks_of, each_part};
use super::window::Window;
use super::{Dispatch, Kernel, linear_groups, parallel, shader};
use crate::buffer::{Matrix, Operand, View};
use crate::kernels::host::Memory;
use crate::scalar::Scalar;

/// Panics if the sides do not fit: a mistake in the emitting layer. Returns the number of images.
fn images(window: &Window, x: Matrix, y: Matrix) -> usize {
    let images = x.rows / window.area();
    assert!(
        x.rows == images * window.area()
            && y.rows == images * window.map_area()
            && x.cols == y.cols,
        "pooling of {:?} into {:?}: {window:?}",
        [x.rows, x.cols],
        [y.rows, y.cols]
    );
    images
}

/// One thread per element of `target`.
fn dispatch(window: &Window, x: Matrix, y: Matrix, target: Matrix) -> Dispatch {
    Dispatch {
        constants: vec![],
        dims: window.dims(images(window, x, y), [x.cols, y.cols], 1),
        groups: linear_groups(target.view.len),
    }
}

/// Rows of x that the window at row `place` of y sees, with their taps, in order.
fn seen(window: &Window, place: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
    let [map_rows, map_cols] = window.map();
    let (image, inside) = (place / (map_rows * map_cols), place % (map_rows * map_cols));
    let (row, col) = (inside / map_cols, inside % map_cols);
    (0..window.taps()).filter_map(move |tap| {
        let [down, across] = [tap / window.kernel[1], tap % window.kernel[1]];
        let there = [window.under(0, row, down)?, window.under(1, col, across)?];
        let row = (image * window.size[0] + there[0]) * window.size[1] + there[1];
        Some((row, tap))
    })
}

/// Rows of y whose windows see row `position` of x, with the tap that does, in order of taps.
fn seeing(window: &Window, position: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
    let map = window.map();
    let (image, inside) = (position / window.area(), position % window.area());
    let at = [inside / window.size[1], inside % window.size[1]];
    let place = move |i: usize, tap: usize| {
        let reach = (at[i] + window.padding[i]).checked_sub(tap * window.dilation[i])?;
        let place = reach / window.stride[i];
        (reach % window.stride[i] == 0 && place < map[i]).then_some(place)
    };
    (0..window.taps()).filter_map(move |tap| {
        let row = place(0, tap / window.kernel[1])?;
        let col = place(1, tap % window.kernel[1])?;
        Some(((image * map[0] + row) * map[1] + col, tap))
    })
}

/// Maxima, and where they were.
#[derive(Clone, Debug)]
pub struct MaxPool {
    /// How the window slides.
    pub window: Window,
    /// `[N·H·W, C]`
    pub x: Matrix,
    /// `[N·OH·OW, C]`
    pub y: Matrix,
    /// Indices `[N·OH·OW, C]`
    pub argmax: View,
}

impl Kernel for MaxPool {
    const NAME: &'static str = "max_pool";
    const SHADER: &'static str = shader!([] "shared/element", "shared/window", "max_pool");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("x", self.x),
            Operand::write("y", self.y),
            Operand::write("argmax", self.argmax),
        ]
    }

    fn flops(&self) -> u64 {
        (self.y.view.len * self.window.taps()) as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        images(&self.window, self.x, self.y);
        let c = self.x.cols;
        let ([x], [y]) = memory.real.access([self.x.view], [self.y.view]);
        let argmax = memory.index.write(self.argmax);
        let rows_per_task = parallel::rows_per_task(c);
        each_part(
            &memory.team,
            (
                chunks_of(y, rows_per_task * c),
                chunks_of(argmax, rows_per_task * c),
            ),
            |_, task, (y, argmax)| {
                let rows = y.chunks_exact_mut(c).zip(argmax.chunks_exact_mut(c));
                for (place, (y, argmax)) in (task * rows_per_task..).zip(rows) {
                    y.fill(T::nan());
                    for (index, (row, tap)) in seen(&self.window, place).enumerate() {
                        let values = y.iter_mut().zip(argmax.iter_mut());
                        for ((y, argmax), &x) in values.zip(&x[row * c..]) {
                            if index == 0 || x > *y || x.is_nan() {
                                (*y, *argmax) = (x, tap as u32);
                            }
                        }
                    }
                }
            },
        );
    }

    fn gpu(&self) -> Dispatch {
        dispatch(&self.window, self.x, self.y, self.y)
    }
}

/// Gradients go back to where the maxima were.
#[derive(Clone, Debug)]
pub struct MaxPoolBackward {
    /// How the window slides.
    pub window: Window,
    /// Indices `[N·OH·OW, C]` from [`MaxPool`]
    pub argmax: View,
    /// `[N·OH·OW, C]`
    pub dy: Matrix,
    /// `[N·H·W, C]`
    pub dx: Matrix,
}

impl Kernel for MaxPoolBackward {
    const NAME: &'static str = "max_pool_backward";
    const SHADER: &'static str = shader!([] "shared/element", "shared/window", "max_pool_backward");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("argmax", self.argmax),
            Operand::read("dy", self.dy),
            Operand::write("dx", self.dx),
        ]
    }

    fn flops(&self) -> u64 {
        self.dy.view.len as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        images(&self.window, self.dx, self.dy);
        let c = self.dx.cols;
        let argmax = memory.index.read(self.argmax);
        let ([dy], [dx]) = memory.real.access([self.dy.view], [self.dx.view]);
        parallel::chunks(&memory.team, dx, c, |first, dx| {
            for (position, dx) in (first / c..).zip(dx.chunks_exact_mut(c)) {
                dx.fill(T::zero());
                for (place, tap) in seeing(&self.window, position) {
                    let maxima = argmax[place * c..].iter().zip(&dy[place * c..]);
                    for (dx, (&argmax, &dy)) in dx.iter_mut().zip(maxima) {
                        if argmax as usize == tap {
                            *dx += dy;
                        }
                    }
                }
            }
        });
    }

    fn gpu(&self) -> Dispatch {
        dispatch(&self.window, self.dx, self.dy, self.dx)
    }
}

/// Means.
#[derive(Clone, Debug)]
pub struct AveragePool {
    /// How the window slides.
    pub window: Window,
    /// `[N·H·W, C]`
    pub x: Matrix,
    /// `[N·OH·OW, C]`
    pub y: Matrix,
}

impl Kernel for AveragePool {
    const NAME: &'static str = "average_pool";
    const SHADER: &'static str = shader!([] "shared/element", "shared/window", "average_pool");

    fn operands(&self) -> Vec<Operand> {
        vec![Operand::read("x", self.x), Operand::write("y", self.y)]
    }

    fn flops(&self) -> u64 {
        (self.y.view.len * (self.window.taps() + 1)) as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        images(&self.window, self.x, self.y);
        let c = self.x.cols;
        let ([x], [y]) = memory.real.access([self.x.view], [self.y.view]);
        parallel::chunks(&memory.team, y, c, |first, y| {
            for (place, y) in (first / c..).zip(y.chunks_exact_mut(c)) {
                y.fill(T::zero());
                for (row, _) in seen(&self.window, place) {
                    y.iter_mut().zip(&x[row * c..]).for_each(|(y, &x)| *y += x);
                }
                let taps = T::of(self.window.taps() as f64);
                y.iter_mut().for_each(|y| *y /= taps);
            }
        });
    }

    fn gpu(&self) -> Dispatch {
        dispatch(&self.window, self.x, self.y, self.y)
    }
}

/// Gradients spread evenly over the window.
#[derive(Clone, Debug)]
pub struct AveragePoolBackward {
    /// How the window slides.
    pub window: Window,
    /// `[N·OH·OW, C]`
    pub dy: Matrix,
    /// `[N·H·W, C]`
    pub dx: Matrix,
}

impl Kernel for AveragePoolBackward {
    const NAME: &'static str = "average_pool_backward";
    const SHADER: &'static str =
        shader!([] "shared/element", "shared/window", "average_pool_backward");

    fn operands(&self) -> Vec<Operand> {
        vec![Operand::read("dy", self.dy), Operand::write("dx", self.dx)]
    }

    fn flops(&self) -> u64 {
        (self.dy.view.len * self.window.taps() + self.dx.view.len) as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        images(&self.window, self.dx, self.dy);
        let c = self.dx.cols;
        let ([dy], [dx]) = memory.real.access([self.dy.view], [self.dx.view]);
        parallel::chunks(&memory.team, dx, c, |first, dx| {
            for (position, dx) in (first / c..).zip(dx.chunks_exact_mut(c)) {
                dx.fill(T::zero());
                for (place, _) in seeing(&self.window, position) {
                    let dy = &dy[place * c..];
                    dx.iter_mut().zip(dy).for_each(|(dx, &dy)| *dx += dy);
                }
                let taps = T::of(self.window.taps() as f64);
                dx.iter_mut().for_each(|dx| *dx /= taps);
            }
        });
    }

    fn gpu(&self) -> Dispatch {
        dispatch(&self.window, self.dx, self.dy, self.dx)
    }
}
