// What people do with the page, one case each. `needs.mock`: the case reads the mock's own words.

import { basics } from "./cases/basics.mjs";
import { errors } from "./cases/errors.mjs";
import { looks } from "./cases/looks.mjs";
import { pictures } from "./cases/pictures.mjs";

export const cases = [...basics, ...pictures, ...errors, ...looks];
