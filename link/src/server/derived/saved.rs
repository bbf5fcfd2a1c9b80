//! Windows of ids on their way into the log's snapshots and back.

use serde::{Deserialize, Serialize};

use super::{Bitmap, Window, Windows};

/// One window.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WindowState {
    node: u64,
    generation: u64,
    stage: Vec<u8>,
    low_water: u64,
    /// By offset / 4,096 and index.
    bitmaps: Vec<(u64, u8, Vec<u64>)>,
    /// Offset, first and last index.
    highs: Vec<(u64, u64, u64)>,
}

impl Windows {
    /// All windows, for a snapshot.
    pub(crate) fn state(&self) -> Vec<WindowState> {
        let windows = self
            .inputs
            .iter()
            .flat_map(|(input, stages)| stages.iter().map(move |(stage, window)| (input, stage, window)));
        windows
            .map(|(&(node, generation), stage, window)| WindowState {
                node,
                generation,
                stage: stage.to_vec(),
                low_water: window.low_water,
                bitmaps: window.bitmaps().collect(),
                highs: window.highs.iter().map(|(&(offset, first), &last)| (offset, first, last)).collect(),
            })
            .collect()
    }

    /// Takes a snapshot's place. They count as used when the node starts.
    pub(crate) fn restore(&mut self, states: &[WindowState]) {
        *self = Self::new(self.fault);
        for state in states {
            let mut window = Window { low_water: state.low_water, ..Window::default() };
            for (chunk, index, words) in &state.bitmaps {
                let place = window.chunks.entry(*chunk).or_default().0.get_mut(usize::from(*index));
                let bitmap: Result<Bitmap, _> = words.as_slice().try_into();
                if let (Some(place), Ok(bitmap)) = (place, bitmap) {
                    *place = Some(Box::new(bitmap));
                    window.size.bitmaps += 1;
                }
            }
            window.highs = state.highs.iter().map(|(offset, first, last)| ((*offset, *first), *last)).collect();
            window.size.highs = window.highs.len();
            self.size.bitmaps += window.size.bitmaps;
            self.size.highs += window.size.highs;
            self.count += 1;
            let stages = self.inputs.entry((state.node, state.generation)).or_default();
            stages.insert(state.stage.as_slice().into(), window);
        }
    }
}

impl Window {
    fn bitmaps(&self) -> impl Iterator<Item = (u64, u8, Vec<u64>)> {
        self.chunks.iter().flat_map(|(chunk, bitmaps)| {
            let indexed = (0..).zip(&bitmaps.0);
            indexed.filter_map(|(index, bitmap)| Some((*chunk, index, bitmap.as_ref()?.to_vec())))
        })
    }
}
