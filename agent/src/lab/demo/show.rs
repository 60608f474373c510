//! How the demo talks: steps with progress, and colours where a person looks.

use std::{
    io::{IsTerminal as _, stdout},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// The demo's voice.
pub(super) struct Show {
    colours: bool,
    step: usize,
    steps: usize,
}

/// A step that is being done.
pub(super) struct Step {
    title: String,
    bar: ProgressBar,
    start: Instant,
}

impl Show {
    pub(super) fn new(steps: usize) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            colours: wanted && stdout().is_terminal(),
            step: 0,
            steps,
        }
    }

    /// Begins a step. On a terminal something moves until it is done.
    pub(super) fn step(&mut self, what: &str) -> Step {
        self.step += 1;
        let title = format!("[{}/{}] {what}", self.step, self.steps);
        // Hidden by itself where standard error is no terminal.
        let bar = ProgressBar::new_spinner().with_message(title.clone());
        if let Ok(style) = ProgressStyle::with_template("{msg} {spinner} {elapsed}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Step {
            title: self.paint("1", &title),
            bar,
            start: Instant::now(),
        }
    }

    /// True if a person looks, who has not said that colours are unwanted.
    pub(super) const fn has_colours(&self) -> bool {
        self.colours
    }

    /// Something wrong.
    pub(super) fn bad(&self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// Something in the background.
    pub(super) fn dim(&self, text: &str) -> String {
        self.paint("2", text)
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colours {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

impl Step {
    /// Ends a step.
    pub(super) fn done(self, result: &str) {
        self.bar.finish_and_clear();
        println!(
            "\n{}\n      {result} ({:.1} s)",
            self.title,
            self.start.elapsed().as_secs_f64()
        );
    }
}
