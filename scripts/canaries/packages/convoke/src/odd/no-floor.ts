// Canary: a room that no floor lists.
export const odd = 1
