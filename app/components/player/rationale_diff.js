// Word-by-word difference of two rationales: longest common subsequence; what is in no common part differs.

export function differingWords(left, right) {
  const [n, m] = [left.length, right.length];
  const table = Array.from({ length: n + 1 }, () => new Uint16Array(m + 1));
  for (let i = n - 1; i >= 0; i--) {
    for (let j = m - 1; j >= 0; j--) {
      table[i][j] = left[i] === right[j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
    }
  }
  const inLeft = new Set(left.keys());
  const inRight = new Set(right.keys());
  for (let i = 0, j = 0; i < n && j < m;) {
    if (left[i] === right[j]) {
      inLeft.delete(i++);
      inRight.delete(j++);
    } else if (table[i + 1][j] >= table[i][j + 1]) i += 1;
    else j += 1;
  }
  return [inLeft, inRight];
}
