//! Lines received during a call, which are handled after it, in order and within bounds.

use std::collections::{HashMap, VecDeque};

use crate::mcp::rpc::{Frame, Id, Message};

/// How many frames may be queued.
const MOST_FRAMES: usize = 10_000;

/// How much memory they may take, not counting the frame that exceeds it.
const MOST_BYTES: usize = 64 << 20;

/// Frames in the order in which they were received.
#[derive(Default)]
pub(super) struct Queue {
    /// Each with the memory that it takes.
    frames: VecDeque<(Frame, usize)>,
    bytes: usize,
    /// How many of the frames cancel each request, by its ID.
    cancellations: HashMap<Id, usize>,
}

impl Queue {
    /// Returns whether another frame may be pushed.
    pub(super) fn has_room(&self) -> bool {
        self.frames.len() < MOST_FRAMES && self.bytes < MOST_BYTES
    }

    pub(super) fn push(&mut self, frame: Frame, bytes: usize) {
        if let Some(id) = cancelled(&frame) {
            *self.cancellations.entry(id).or_default() += 1;
        }
        self.bytes += bytes;
        self.frames.push_back((frame, bytes));
    }

    /// Returns the first frame that is not a request cancelled by a later frame, and drops those before it.
    pub(super) fn pop(&mut self) -> Option<Frame> {
        loop {
            let (frame, bytes) = self.frames.pop_front()?;
            self.bytes -= bytes;
            if let Some(id) = cancelled(&frame) {
                self.forget(&id);
            } else if can_be_cancelled(&frame).is_some_and(|id| self.cancels(id)) {
                continue;
            }
            return Some(frame);
        }
    }

    /// Returns whether a frame cancels this request.
    pub(super) fn cancels(&self, id: &Id) -> bool {
        self.cancellations.contains_key(id)
    }

    /// Removes one cancellation of this request.
    fn forget(&mut self, id: &Id) {
        if let Some(count) = self.cancellations.get_mut(id) {
            *count -= 1;
            if *count == 0 {
                self.cancellations.remove(id);
            }
        }
    }
}

/// Returns the ID of the request that `frame` cancels.
pub(super) fn cancelled(frame: &Frame) -> Option<Id> {
    match frame {
        Frame::Single(Message::Notification(note)) if note.method == "notifications/cancelled" => {
            note.params.get("requestId").and_then(Id::new)
        }
        _ => None,
    }
}

/// Returns the ID of a request; `None` for other messages, and for `initialize`, which cannot be cancelled.
fn can_be_cancelled(frame: &Frame) -> Option<&Id> {
    match frame {
        Frame::Single(Message::Request(request)) if request.method != "initialize" => {
            Some(&request.id)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mcp::rpc;

    fn request(id: u64, method: &str) -> Frame {
        rpc::read(format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}"}}"#).as_bytes()).0
    }

    fn cancel(id: u64) -> Frame {
        let params = json!({ "requestId": id });
        let note = rpc::notification("notifications/cancelled", params);
        rpc::read(note.to_string().as_bytes()).0
    }

    #[track_caller]
    fn check(frames: Vec<Frame>, expected: Vec<Frame>) {
        let mut queue = Queue::default();
        for frame in frames {
            queue.push(frame, 1);
        }
        let popped: Vec<Frame> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(popped, expected);
        assert!(queue.cancellations.is_empty() && queue.bytes == 0);
    }

    #[test]
    fn drops_a_request_that_a_later_frame_cancels_unless_it_opens_a_session() {
        check(
            vec![request(1, "a"), request(2, "b"), cancel(1)],
            vec![request(2, "b"), cancel(1)],
        );
        check(
            vec![request(1, "initialize"), cancel(1)],
            vec![request(1, "initialize"), cancel(1)],
        );
    }

    #[test]
    fn a_cancellation_counts_for_earlier_requests_only() {
        check(
            vec![cancel(1), request(1, "a")],
            vec![cancel(1), request(1, "a")],
        );
        check(
            vec![cancel(1), request(1, "a"), cancel(1)],
            vec![cancel(1), cancel(1)],
        );
    }

    #[test]
    fn limits_the_number_of_frames_and_their_memory() {
        let mut queue = Queue::default();
        for _ in 0..MOST_FRAMES {
            assert!(queue.has_room());
            queue.push(cancel(1), 1);
        }
        assert!(!queue.has_room());
        queue.pop();
        assert!(queue.has_room());
        queue.push(cancel(1), 1);
        queue.pop();
        queue.pop();
        queue.push(cancel(1), MOST_BYTES);
        assert!(!queue.has_room());
    }
}
