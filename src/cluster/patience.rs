//! How long a call waits for something, and when it looks at it.

use std::time::{Duration, Instant};

use crate::cluster::tasks::{WAIT, WAIT_TIMEOUT};
use crate::param::Args;
use crate::pve::reader::Reader;

/// How long to wait where nothing else is said: clients give up on a call after 60 s.
const PATIENCE: u64 = 45;

/// How long to wait at most for a client that does not hear of progress, and may take a long wait
/// for a dead server.
const PATIENCE_WITHOUT_PROGRESS: u64 = 50;

const FIRST_DELAY: Duration = Duration::from_millis(200);
const LONGEST_DELAY: Duration = Duration::from_secs(2);

/// How long a call waits for the task that it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    limit: Duration,
    /// Whether the limit is less than what was asked for.
    is_cut: bool,
}

impl Patience {
    /// What `args` ask for; `None` when they do not ask to wait.
    pub(crate) fn asked(client: &Reader, args: &Args) -> Option<Self> {
        let seconds = args.integer(&WAIT_TIMEOUT);
        let waits = match args.get(&WAIT) {
            Some(wait) => wait == "1",
            None => seconds.is_some(),
        };
        waits.then(|| Self::of(client, seconds))
    }

    /// So many seconds, or the usual patience.
    pub(crate) fn of(client: &Reader, seconds: Option<u64>) -> Self {
        let seconds = seconds.unwrap_or(PATIENCE);
        let most = match client.peer().wants_progress() {
            true => u64::MAX,
            false => PATIENCE_WITHOUT_PROGRESS,
        };
        Self {
            limit: Duration::from_secs(seconds.min(most)),
            is_cut: seconds > most,
        }
    }

    /// ` after 45 s`, to be said of what it did not see.
    pub(super) fn elapsed(self) -> String {
        let seconds = self.limit.as_secs();
        match self.is_cut {
            true => {
                format!(" after {seconds} s, the most that is waited for a client without progress")
            }
            false => format!(" after {seconds} s"),
        }
    }

    pub(crate) const fn exactly(limit: Duration) -> Self {
        Self {
            limit,
            is_cut: false,
        }
    }
}

/// When what a call waits for is looked at: soon at first, then every two seconds, and a last time when
/// patience ends.
pub(crate) struct Pace {
    patience: Patience,
    since: Instant,
    /// The sum of the delays so far.
    paused: Duration,
    delay: Duration,
    due: Instant,
}

impl Pace {
    pub(crate) fn new(patience: Patience) -> Self {
        let now = Instant::now();
        let mut pace = Self {
            patience,
            since: now,
            paused: Duration::ZERO,
            delay: FIRST_DELAY,
            due: now,
        };
        pace.schedule();
        pace
    }

    /// When the next look is due.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    /// Whether patience has ended with the look that was due.
    pub(crate) fn is_over(&self) -> bool {
        self.waited() >= self.patience.limit
    }

    /// The same, up to the next look.
    pub(crate) fn advanced(mut self) -> Self {
        self.delay = (self.delay * 2).min(LONGEST_DELAY);
        self.schedule();
        self
    }

    /// The same patience, for something else.
    pub(crate) fn restarted(mut self) -> Self {
        self.delay = FIRST_DELAY;
        self.schedule();
        self
    }

    fn schedule(&mut self) {
        let left = self.patience.limit.saturating_sub(self.waited());
        self.due = Instant::now() + self.delay.min(left);
        self.paused += self.delay;
    }

    /// What took longer than the delays counts in whole seconds: how often something is looked at must
    /// not depend on how busy the machine is.
    fn waited(&self) -> Duration {
        let other = self.since.elapsed().saturating_sub(self.paused);
        self.paused + Duration::from_secs(other.as_secs())
    }
}
