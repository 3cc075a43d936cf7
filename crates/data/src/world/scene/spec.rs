//! The description of a scene, reproducible from JSON.

use serde::{Deserialize, Serialize};

/// A scene: everything that decides its pixels, given the corpus and a resolution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scene {
    /// Colour behind the objects.
    pub background: Background,
    /// Factor on the background colour, about 0.94 to 1.06: the same name, not always the same pixel.
    pub shade: f32,
    /// How the objects stand to each other.
    pub arrangement: Arrangement,
    /// One to five objects; objects of one group are neighbours in this list.
    pub objects: Vec<Object>,
}

/// One object of a scene.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Object {
    /// Id of the drawing, `<codepoint>.<style>`.
    pub drawing: String,
    /// Objects of one group are alike: same drawing, tint and orientation.
    pub group: usize,
    /// Centre, x and y in `[0, 1]` of the canvas.
    pub center: [f32; 2],
    /// Longest side as a share of the canvas.
    pub size: f32,
    /// Which way is up.
    pub orientation: Orientation,
    /// Whether left and right are swapped (before turning).
    pub mirrored: bool,
    /// Colour laid over the drawing.
    pub tint: Tint,
}

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name { $($(#[$doc])* $variant),+ }

        impl $name {
            /// All values.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The value in words.
            pub fn words(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
    };
}

words! {
    /// Background colours. None of them is a tint, so a tinted object never vanishes.
    Background {
        /// Nearly white.
        White = "white",
        /// Middle grey.
        Gray = "gray",
        /// Nearly black.
        Black = "black",
        /// Light pink.
        Pink = "pink",
        /// Orange.
        Orange = "orange",
        /// Middle brown.
        Brown = "brown",
        /// Light cyan.
        Cyan = "cyan",
        /// Sand.
        Beige = "beige",
    }
}

words! {
    /// Colour laid over a drawing.
    Tint {
        /// The drawing's own colours.
        Natural = "natural",
        /// Shades of red.
        Red = "red",
        /// Shades of yellow.
        Yellow = "yellow",
        /// Shades of green.
        Green = "green",
        /// Shades of blue.
        Blue = "blue",
        /// Shades of purple.
        Purple = "purple",
    }
}

words! {
    /// Which way an object is turned.
    Orientation {
        /// As drawn.
        Upright = "upright",
        /// By 90 degrees counter-clockwise.
        TurnedLeft = "turned left",
        /// By 180 degrees.
        UpsideDown = "upside down",
        /// By 90 degrees clockwise.
        TurnedRight = "turned right",
    }
}

words! {
    /// How the objects stand to each other.
    Arrangement {
        /// One large object near the centre.
        Single = "single",
        /// One small object in a quarter of the picture.
        Corner = "corner",
        /// Side by side.
        Row = "row",
        /// One above the other.
        Column = "column",
        /// From one corner to the opposite one.
        Diagonal = "diagonal",
        /// In two rows.
        Grid = "grid",
    }
}

words! {
    /// Where something is, in thirds of the picture.
    Position {
        /// Upper left.
        TopLeft = "top left",
        /// Upper middle.
        Top = "top",
        /// Upper right.
        TopRight = "top right",
        /// Middle left.
        Left = "left",
        /// Middle.
        Center = "center",
        /// Middle right.
        Right = "right",
        /// Lower left.
        BottomLeft = "bottom left",
        /// Lower middle.
        Bottom = "bottom",
        /// Lower right.
        BottomRight = "bottom right",
    }
}

impl Background {
    /// sRGB colour before the scene's shade.
    pub fn rgb(self) -> [u8; 3] {
        match self {
            Self::White => [246, 246, 246],
            Self::Gray => [150, 150, 150],
            Self::Black => [24, 24, 24],
            Self::Pink => [248, 176, 204],
            Self::Orange => [243, 146, 50],
            Self::Brown => [133, 84, 48],
            Self::Cyan => [110, 216, 226],
            Self::Beige => [226, 205, 165],
        }
    }
}

impl Tint {
    /// sRGB colour, `None` for natural.
    pub fn rgb(self) -> Option<[u8; 3]> {
        match self {
            Self::Natural => None,
            Self::Red => Some([226, 28, 36]),
            Self::Yellow => Some([250, 212, 20]),
            Self::Green => Some([36, 160, 60]),
            Self::Blue => Some([36, 84, 226]),
            Self::Purple => Some([140, 44, 186]),
        }
    }

    /// The tints that are colours.
    pub const COLOURS: &'static [Self] = &[
        Self::Red,
        Self::Yellow,
        Self::Green,
        Self::Blue,
        Self::Purple,
    ];
}

impl Position {
    /// Third of the picture in which a point lies, `[x, y]` in `[0, 1]`. The middle third is a little
    /// narrower than the outer ones are wide, so that jittered slots keep their names.
    pub fn of(center: [f32; 2]) -> Self {
        let third = |v: f32| {
            if v < 0.4 {
                0
            } else if v > 0.6 {
                2
            } else {
                1
            }
        };
        Self::ALL[3 * third(center[1]) + third(center[0])]
    }

    /// Row and column, each 0 to 2.
    pub fn cell(self) -> [usize; 2] {
        let index = Self::ALL.iter().position(|p| *p == self).unwrap_or(4);
        [index / 3, index % 3]
    }

    /// What several positions have in common: their row, their column, or nothing.
    pub fn common(positions: &[Self]) -> Option<Self> {
        let shared = |axis: usize| {
            let first = positions.first()?.cell()[axis];
            positions
                .iter()
                .all(|p| p.cell()[axis] == first)
                .then_some(first)
        };
        match (shared(0), shared(1)) {
            (Some(row), Some(column)) => Some(Self::ALL[3 * row + column]),
            (Some(row), None) if row != 1 => Some(Self::ALL[3 * row + 1]),
            (None, Some(column)) if column != 1 => Some(Self::ALL[3 + column]),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_have_names() {
        assert_eq!(Position::of([0.25, 0.75]), Position::BottomLeft);
        assert_eq!(Position::of([0.5, 0.5]), Position::Center);
        assert_eq!(Position::of([0.83, 0.5]), Position::Right);
        use Position::*;
        assert_eq!(Position::common(&[TopLeft, TopRight]), Some(Top));
        assert_eq!(Position::common(&[TopLeft, BottomLeft]), Some(Left));
        assert_eq!(Position::common(&[Left, Right]), None);
        assert_eq!(Position::common(&[TopLeft, BottomRight]), None);
        assert_eq!(Position::common(&[Right]), Some(Right));
        assert_eq!(Position::common(&[]), None);
    }

    #[test]
    fn scenes_survive_json() {
        let scene = Scene {
            background: Background::Beige,
            shade: 0.97,
            arrangement: Arrangement::Row,
            objects: vec![Object {
                drawing: "1f408.noto".into(),
                group: 0,
                center: [0.25, 0.5],
                size: 0.4,
                orientation: Orientation::UpsideDown,
                mirrored: true,
                tint: Tint::Blue,
            }],
        };
        let json = serde_json::to_string(&scene).unwrap();
        assert!(json.contains("\"upside-down\""), "{json}");
        assert_eq!(serde_json::from_str::<Scene>(&json).unwrap(), scene);
        assert!(serde_json::from_str::<Scene>(&json.replace("shade", "shadow")).is_err());
    }
}
