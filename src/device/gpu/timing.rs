//! When the launches of a routine ran on a GPU, by its own clock.

use std::time::Instant;

use wgpu::{ComputePassTimestampWrites, QUERY_SET_MAX_QUERIES, QUERY_SIZE};

use crate::device::{DeviceError, Span, Timing};
use crate::plan::RoutineId;

use super::Gpu;
use super::execute::{DISPATCHES_PER_SUBMIT, Prepared};

// A query for either end of each launch of a submission fits one set.
const _: () = assert!(2 * DISPATCHES_PER_SUBMIT <= QUERY_SET_MAX_QUERIES as usize);

impl Gpu {
    /// Runs a routine with a compute pass of its own for every launch, and a timestamp on either side.
    pub(super) fn timed(&mut self, routine: RoutineId) -> Result<Timing, DeviceError> {
        let feature = wgpu::Features::TIMESTAMP_QUERY;
        if !self.context.device.features().contains(feature) {
            let reason = "it has no timestamp queries, so launches cannot be timed on it";
            return Err(self.context.error(reason));
        }
        let count = self.routines[routine.0].len();
        if count == 0 {
            return Ok(Timing::default());
        }
        let began = Instant::now();
        let mut host = Vec::new();
        let mut note = |what, start: f64| {
            let end = began.elapsed().as_secs_f64();
            host.push((what, Span { start, end }));
            end
        };
        let bytes = 2 * count as u64 * u64::from(QUERY_SIZE);
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let resolved = self.create_buffer("timestamps", bytes, usage);
        let mut now = note("prepare", 0.0);
        for (chunk, launches) in self.routines[routine.0]
            .chunks(DISPATCHES_PER_SUBMIT)
            .enumerate()
        {
            let first = (chunk * DISPATCHES_PER_SUBMIT) as u64;
            let recorded = self.record_timed(launches, &resolved, first);
            now = note("record", now);
            self.context.queue.submit([recorded]);
            now = note("submit", now);
        }
        self.wait_for_all()?;
        now = note("wait", now);
        let ticks = self.fetch(&resolved, 0, bytes)?;
        note("read timestamps", now);
        self.counters.submits += count.div_ceil(DISPATCHES_PER_SUBMIT) as u64;
        self.counters.passes += count as u64;
        self.counters.launches += count as u64;
        let dispatches = self.routines[routine.0].iter().map(Prepared::dispatches);
        self.counters.dispatches += dispatches.sum::<usize>() as u64;

        let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&ticks);
        let second = 1e-9 * f64::from(self.context.queue.get_timestamp_period());
        let launches = spans(&ticks, second).map_err(|reason| self.context.error(reason))?;
        Ok(Timing { launches, host })
    }

    /// Launches with a timestamp on either side, written behind those of `first` other launches.
    fn record_timed(
        &self,
        launches: &[Prepared],
        resolved: &wgpu::Buffer,
        first: u64,
    ) -> wgpu::CommandBuffer {
        let device = &self.context.device;
        let queries = 2 * launches.len() as u32;
        let query_set = device.create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("timestamps"),
            ty: wgpu::QueryType::Timestamp,
            count: queries,
        });
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        for (launch, query) in launches.iter().zip((0..).step_by(2)) {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: None,
                timestamp_writes: Some(ComputePassTimestampWrites {
                    query_set: &query_set,
                    beginning_of_pass_write_index: Some(query),
                    end_of_pass_write_index: Some(query + 1),
                }),
            });
            launch.record(&mut pass);
        }
        let offset = 2 * first * u64::from(QUERY_SIZE);
        encoder.resolve_query_set(&query_set, 0..queries, resolved, offset);
        encoder.finish()
    }
}

/// Pairs of ticks as spans in seconds from the first; an error says what is wrong with them.
fn spans(ticks: &[u64], second: f64) -> Result<Vec<Span>, String> {
    let origin = ticks[0];
    let mut spans = Vec::new();
    for (launch, pair) in ticks.chunks_exact(2).enumerate() {
        let [start, end] = [pair[0], pair[1]];
        if start < origin || end < start || end == 0 {
            return Err(format!(
                "its driver says that launch {launch} ran from tick {start} to {end}, and the first \
                 from {origin}: its timestamps are no use"
            ));
        }
        let seconds = |tick: u64| (tick - origin) as f64 * second;
        spans.push(Span {
            start: seconds(start),
            end: seconds(end),
        });
    }
    Ok(spans)
}

#[cfg(test)]
mod tests {
    use super::spans;
    use crate::device::Span;

    #[test]
    fn ticks_become_seconds_from_the_first_launch() {
        let span = |start, end| Span { start, end };
        let found = spans(&[100, 104, 104, 110], 0.5).expect("ascending");
        assert_eq!(found, [span(0.0, 2.0), span(2.0, 5.0)]);
    }

    #[test]
    fn timestamps_that_cannot_be_are_an_error() {
        for ticks in [[0, 0, 0, 0], [5, 4, 6, 7], [5, 6, 4, 7], [5, 6, 7, 0]] {
            let error = spans(&ticks, 1.0).expect_err("refused");
            assert!(error.contains("no use"), "{error}");
        }
    }
}
