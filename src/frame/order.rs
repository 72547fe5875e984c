//! The order of a batch's rows: that of the frame, but nobody stands behind a district that waits.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Hands out the rows of many districts, of each no more at once than there are workers.
///
/// Where so many of one district are under way that are not all in flight, they wait for
/// something; the rows after them let others go first.
#[derive(Debug)]
pub(super) struct Order<D, T> {
    workers: usize,
    under_way: HashMap<D, usize>,
    waiting: HashMap<D, VecDeque<T>>,
    /// Rows that take the place of others of their district that have ended.
    ready: VecDeque<(D, T)>,
}

impl<D: Eq + Hash + Copy, T> Order<D, T> {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            workers,
            under_way: HashMap::new(),
            waiting: HashMap::new(),
            ready: VecDeque::new(),
        }
    }

    /// The next row that may go, if there is any, with its district; `more` are those that were
    /// never looked at.
    pub(super) fn next(&mut self, mut more: impl FnMut() -> Option<(D, T)>) -> Option<(D, T)> {
        if let Some(row) = self.ready.pop_front() {
            return Some(row);
        }
        loop {
            let (district, row) = more()?;
            let under_way = self.under_way.entry(district).or_default();
            if *under_way < self.workers {
                *under_way += 1;
                return Some((district, row));
            }
            self.waiting.entry(district).or_default().push_back(row);
        }
    }

    /// Notes that a row has ended; whether another may go now that waited for it.
    pub(super) fn end(&mut self, district: D) -> bool {
        let waiting = self.waiting.get_mut(&district);
        match waiting.and_then(VecDeque::pop_front) {
            // It takes the place of the one that has ended.
            Some(row) => {
                self.ready.push_back((district, row));
                true
            }
            None => {
                if let Some(under_way) = self.under_way.get_mut(&district) {
                    *under_way -= 1;
                }
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_district_that_waits_lets_others_go_first() {
        let mut rows = "aaaabab".chars().zip(0..);
        let mut districts = Order::new(2);
        let mut next = |districts: &mut Order<char, i32>| districts.next(|| rows.next());
        let first: Vec<_> = std::iter::from_fn(|| next(&mut districts)).collect();
        assert_eq!(first, [('a', 0), ('a', 1), ('b', 4), ('b', 6)]);
        for row in [2, 3, 5] {
            assert!(districts.end('a'));
            assert_eq!(next(&mut districts), Some(('a', row)));
            assert_eq!(next(&mut districts), None);
        }
        assert!(!districts.end('a'));
        assert_eq!(districts.next(|| Some(('a', 7))), Some(('a', 7)));
    }
}
