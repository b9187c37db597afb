import { describe, expect, it } from 'vitest';
import { mutedWordTest } from '../../../src/api/muted-words.ts';
import { whyShown } from '../../../src/api/why.ts';
import { post } from './world.ts';

describe('a muted word', () => {
  it.each([
    { word: 'cat', text: 'My CAT!', hit: true },
    { word: 'cat', text: 'concatenate', hit: false },
    { word: 'cat', text: 'cats', hit: false },
    { word: '#cat', text: 'see #Cat now', hit: true },
    { word: 'über', text: 'U\u0308ber alles', hit: true },
    { word: "don't", text: "I DON'T know", hit: true },
    { word: "don't", text: 'I don know t', hit: false },
    { word: '🐈', text: 'look 🐈🐈', hit: true },
    { word: '猫', text: '我的猫很可爱', hit: true },
    { word: '狗', text: '我的猫很可爱', hit: false },
    { word: '.*', text: 'anything', hit: false },
  ])('"$word" in "$text": $hit', ({ word, text, hit }) => {
    const test = mutedWordTest([word]);
    expect(test?.(post('p', { title: 'nothing', text }))).toBe(hit);
    expect(test?.(post('p', { title: text }))).toBe(hit);
  });

  it('is not looked for when there is none', () => {
    expect(mutedWordTest([])).toBeNull();
  });
});

describe('why a post is shown', () => {
  it('names the most personal source', () => {
    const cats = { topic: 'cats' };
    expect(whyShown({ sources: ['nearest', 'following'] }, cats, 'stored')).toBe('from an author you follow');
    expect(whyShown({ sources: ['similar', 'trending'] }, cats, 'stored')).toBe(
      'similar to posts you engaged with',
    );
    expect(whyShown({ sources: ['nearest', 'trending'] }, cats, 'stored')).toBe(
      'close to your interests, in cats',
    );
    expect(whyShown({ sources: ['nearest', 'trending'] }, cats, 'cold')).toBe('trending in cats');
    expect(whyShown({ sources: ['fresh'] }, null, 'stored')).toBe('new');
    expect(whyShown({ sources: ['nearest'] }, cats, 'cold')).toBe('to get to know you, from cats');
  });
});
