//! Figures and how they are shown.

/// A table of figures.
pub struct Table {
    /// What they are.
    pub title: String,
    /// The rows.
    pub figures: Vec<Figure>,
}

/// One row.
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// Columns; NaN is none.
    pub values: Vec<(&'static str, f64)>,
}

impl Table {
    /// Prints it.
    pub fn print(&self) {
        println!("\n{}", self.title);
        let Some(first) = self.figures.first() else {
            return;
        };
        print!("  {:<38}", "");
        for (column, _) in &first.values {
            print!("{column:>14}");
        }
        println!();
        for figure in &self.figures {
            print!("  {:<38}", figure.name);
            for (_, value) in &figure.values {
                match value {
                    value if value.is_nan() => print!("{:>14}", ""),
                    value if value.abs() >= 100.0 => print!("{value:>14.0}"),
                    value => print!("{value:>14.2}"),
                }
            }
            println!();
        }
    }

    /// The same as JSON.
    pub fn json(&self) -> serde_json::Value {
        let rows = self.figures.iter().map(|figure| {
            let mut row = serde_json::json!({ "name": figure.name });
            for (column, value) in &figure.values {
                if value.is_finite() {
                    row[*column] = (*value).into();
                }
            }
            row
        });
        serde_json::json!({ "title": self.title, "rows": rows.collect::<Vec<_>>() })
    }
}
