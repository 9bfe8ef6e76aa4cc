// Rows of pictures of one height each, uncropped, that end flush: positions from ratios, nothing of the page.

// ratios: width / height of each picture. width, height (wanted, of a row), gap, foot (below each picture): CSS pixels.
// A row is closed where its height comes nearest to the wanted one; the last one keeps the wanted height if it is not full.
export function justified(ratios, { width, height, gap, foot = 0 }) {
  const places = [];
  let row = [], sum = 0, top = 0;
  const fitted = (total, count) => (width - gap * (count - 1)) / total;
  const close = (rowHeight) => {
    let left = 0;
    row.forEach((ratio) => {
      places.push({ left, top, width: ratio * rowHeight, height: rowHeight });
      left += ratio * rowHeight + gap;
    });
    top += rowHeight + foot + gap;
    row = [];
    sum = 0;
  };
  ratios.forEach((given) => {
    const ratio = Math.min(Math.max(given, 0.4), 3.2); // a strip of a picture shall not make a row of a pixel's height
    if (row.length) {
      const without = fitted(sum, row.length), within = fitted(sum + ratio, row.length + 1);
      if (within < height && Math.abs(Math.log(without / height)) < Math.abs(Math.log(within / height))) close(without);
    }
    row.push(ratio);
    sum += ratio;
  });
  if (row.length) close(Math.min(height * 1.15, fitted(sum, row.length)));
  return { places, height: Math.max(0, top - gap) };
}

// The place to go to from `at` by an arrow key: left and right by order, up and down to the nearest centre across.
export function neighbour(places, at, key) {
  if (key === "ArrowLeft") return Math.max(0, at - 1);
  if (key === "ArrowRight") return Math.min(places.length - 1, at + 1);
  const from = places[at], centre = from.left + from.width / 2, down = key === "ArrowDown";
  const tops = [...new Set(places.map(({ top }) => top))];
  const row = tops[tops.indexOf(from.top) + (down ? 1 : -1)];
  if (row === undefined) return at;
  let best = at, least = Infinity;
  places.forEach((place, index) => {
    const away = Math.abs(place.left + place.width / 2 - centre);
    if (place.top === row && away < least) [best, least] = [index, away];
  });
  return best;
}
