using System.Text;

namespace Edge.Benchmarks.Fuzz;

/// <summary>Makes inputs from valid ones: bytes flipped, cut, doubled, moved, swapped for words that hurt, and pieces of other inputs.</summary>
internal static class Mutator
{
    private static readonly byte[][] s_words =
    [
        .. new[]
        {
            "{", "}", "[", "]", "\"", "\\", ":", ",", "null", "true", "-1", "0", "1e999", "-0.0", "9223372036854775807", "9223372036854775808", "99999999999999999999999", "\\u0000", "\\ud800",
            "\\ud800\\udc00", "{\"header\":", "\"content\":", "\"route\":", "\"msg_id\":", "\"operation\":", "\"objects\":", "\"Err\":", "\"ErrStatus\":", "\"metadata\":", "\"uid\":", "\"rv\":",
            "\"resourceVersion\":", "node/n/", "null/", "//", "/", "membership", "{\"a\":1,\"a\":2}", "\"OK\"", " ", "\n", "\u00e9", "\uD83D\uDE00",
        }.Select(Encoding.UTF8.GetBytes),
        [0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xef, 0xbb, 0xbf], [0x00],
    ];

    /// <summary>An input of at most <paramref name="sizeMax"/> bytes.</summary>
    public static byte[] Mutate(Random random, byte[][] corpus, int sizeMax)
    {
        var input = new List<byte>(corpus[random.Next(corpus.Length)]);
        for (var steps = random.Next(8); steps >= 0; steps--)
        {
            var at = random.Next(input.Count + 1);
            var length = Math.Min(input.Count - at, 1 << random.Next(8));
            switch (random.Next(8))
            {
                case 0 when at < input.Count:
                    input[at] ^= (byte)(1 << random.Next(8));
                    break;
                case 1 when at < input.Count:
                    input[at] = (byte)random.Next(256);
                    break;
                case 2:
                    input.RemoveRange(at, length);
                    break;
                case 3:
                    input.InsertRange(at, input.GetRange(at, length));
                    break;
                case 4:
                    input.InsertRange(at, s_words[random.Next(s_words.Length)]);
                    break;
                case 5:
                    // Deep: a word many times over.
                    var word = s_words[random.Next(s_words.Length)];
                    for (var times = random.Next(200); times > 0; times--)
                        input.InsertRange(at, word);
                    break;
                case 6:
                    var other = corpus[random.Next(corpus.Length)];
                    var from = random.Next(other.Length + 1);
                    input.InsertRange(at, other.AsSpan(from, random.Next(other.Length - from + 1)).ToArray());
                    break;
                default:
                    input.RemoveRange(at, input.Count - at);
                    break;
            }
        }

        return [.. input.Take(sizeMax)];
    }
}
