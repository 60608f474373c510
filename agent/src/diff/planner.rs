//! Plans one after the other.

use super::{Full, Installed, Limits, Plan, Wanted, diff, memory::Memory, step};

/// What the maps hold, and how the last state lies in them.
#[derive(Debug, Default)]
pub struct Planner {
    installed: Installed,
    /// Of the last state that was put in force; `None` if it is not known how it lies.
    memory: Option<Memory>,
}

impl Planner {
    /// Begins with what was read from the maps.
    #[must_use]
    pub const fn new(installed: Installed) -> Self {
        Self {
            installed,
            memory: None,
        }
    }

    /// What the maps hold.
    #[must_use]
    pub const fn installed(&self) -> &Installed {
        &self.installed
    }

    /// Plans the way to `wanted`. Costs what differs from the last state that was put in force, if there is one.
    ///
    /// # Errors
    ///
    /// [`Full`] if it does not fit. Then nothing has been planned: it is all or nothing.
    pub fn plan(&self, wanted: Wanted<'_>, limits: &Limits) -> Result<Plan, Full> {
        let step = self
            .memory
            .as_ref()
            .and_then(|memory| step::step(&self.installed, memory, wanted, limits));
        step.unwrap_or_else(|| diff(&self.installed, wanted, limits))
    }

    /// The plan has been carried out, all of it.
    pub fn done(&mut self, plan: Plan) {
        self.installed = plan.after;
        self.memory = Some(plan.memory);
    }

    /// A plan has not been carried out to its end; this is what the maps hold.
    pub fn lost(&mut self, installed: Installed) {
        *self = Self::new(installed);
    }
}
