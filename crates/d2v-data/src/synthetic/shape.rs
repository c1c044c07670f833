//! The outlines, each of unit area in its own coordinates, so that area does not tell shapes apart.

/// What is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Disc,
    Square,
    Triangle,
    Cross,
    Ring,
}

impl Shape {
    pub(super) const ALL: [Self; 5] = [Self::Disc, Self::Square, Self::Triangle, Self::Cross, Self::Ring];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Disc => "disc",
            Self::Square => "square",
            Self::Triangle => "triangle",
            Self::Cross => "cross",
            Self::Ring => "ring",
        }
    }

    /// Whether a point lies inside; the origin is the centre, the area is 1.
    pub(super) fn contains(self, x: f32, y: f32) -> bool {
        match self {
            // pi r^2 = 1
            Self::Disc => x * x + y * y < std::f32::consts::FRAC_1_PI,
            Self::Square => x.abs().max(y.abs()) < 0.5,
            // Equilateral with its centroid at the origin: area 3 sqrt(3) r^2 for the inscribed circle's r = 0.4387.
            Self::Triangle => {
                const INNER: f32 = 0.438_69;
                -y < INNER && 0.866_025 * x + 0.5 * y < INNER && -0.866_025 * x + 0.5 * y < INNER
            }
            // Two bars of half-length a and half-width 0.36 a: area a^2 (8 * 0.36 - 4 * 0.36^2) = 1.
            Self::Cross => {
                const LONG: f32 = 0.650_79;
                const WIDE: f32 = 0.36 * LONG;
                let (x, y) = (x.abs(), y.abs());
                (x < LONG && y < WIDE) || (y < LONG && x < WIDE)
            }
            // Outer radius R, inner 0.5 R: area 0.75 pi R^2 = 1.
            Self::Ring => {
                const OUTER_SQUARED: f32 = 0.424_41;
                (0.25 * OUTER_SQUARED..OUTER_SQUARED).contains(&(x * x + y * y))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_area_is_one() {
        let steps = 800;
        for shape in Shape::ALL {
            let at = |i: i32| (i as f32 + 0.5) * 3.0 / steps as f32 - 1.5;
            let inside = (0..steps).flat_map(|i| (0..steps).map(move |j| (i, j)));
            let inside = inside.filter(|&(i, j)| shape.contains(at(i), at(j))).count();
            let area = inside as f64 * 9.0 / f64::from(steps * steps);
            assert!((area - 1.0).abs() < 5e-3, "{shape:?}: {area}");
        }
    }
}
