//! Stable sorting in little code: the library's sort is compiled again for each comparison, in some 5 kB.

use std::cmp::Ordering;
use std::mem;

pub(crate) fn sort<T: Ord>(items: &mut [T]) {
    sort_by(items, T::cmp);
}

pub(crate) fn sort_by_key<T, K: Ord>(items: &mut [T], key: impl Fn(&T) -> K) {
    sort_by(items, |a, b| key(a).cmp(&key(b)));
}

pub(crate) fn sort_by<T>(items: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
    let mut order = order(items.len(), &|a, b| compare(&items[a], &items[b]));
    // Each round brings the items of one cycle to their places.
    for first in 0..order.len() {
        let mut at = first;
        loop {
            let from = mem::replace(&mut order[at], at);
            if from == first {
                break;
            }
            items.swap(at, from);
            at = from;
        }
    }
}

/// Collects into a map or a set item by item. `collect` sorts the items first, with a sort of its own for each
/// kind of iterator.
pub(crate) fn gather<T, C: Default + Extend<T>>(items: impl IntoIterator<Item = T>) -> C {
    let mut collection = C::default();
    items.into_iter().for_each(|item| collection.extend([item]));
    collection
}

/// Returns for each place the index of the item that belongs there.
fn order(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|a, b| compare(*a, *b));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_as_the_library_does() {
        // A generator of small numbers, so that many are equal.
        let mut seed = 7_u32;
        let mut next = || {
            seed = seed.wrapping_mul(1_103_515_245).wrapping_add(12_345);
            seed >> 27
        };
        for count in [0, 1, 2, 3, 10, 100, 1_000] {
            let given: Vec<(u32, usize)> = (0..count).map(|index| (next(), index)).collect();
            let (mut ours, mut theirs) = (given.clone(), given.clone());
            sort_by_key(&mut ours, |(number, _)| *number);
            theirs.sort_by_key(|(number, _)| *number);
            assert_eq!(ours, theirs);
            let (mut ours, mut theirs) = (given.clone(), given);
            sort(&mut ours);
            theirs.sort();
            assert_eq!(ours, theirs);
        }
    }
}
