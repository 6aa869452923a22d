namespace Edge.Testing.Dns;

/// <summary>Makes packets from good ones: bits, counts, lengths and pointers changed, pieces cut, doubled and mixed.</summary>
public static class DnsMutator
{
    private static readonly byte[] s_bytes = [0, 1, 2, 0x0c, 0x29, 0x3f, 0x40, 0x7f, 0x80, 0xc0, 0xc1, 0xff];

    /// <summary>Writes a mutation of one of the packets.</summary>
    /// <param name="packet">At least 4096 bytes.</param>
    /// <returns>Its length.</returns>
    public static int Mutate(Random random, byte[][] corpus, byte[] packet)
    {
        var original = corpus[random.Next(corpus.Length)];
        original.CopyTo(packet, 0);
        var length = original.Length;
        for (var steps = random.Next(5); steps > 0; steps--)
        {
            var at = random.Next(length + 1);
            var count = Math.Min(length - at, 1 << random.Next(8));
            switch (random.Next(9))
            {
                case 0 when at < length:
                    packet[at] ^= (byte)(1 << random.Next(8));
                    break;
                case 1 when at < length:
                    packet[at] = s_bytes[random.Next(s_bytes.Length)];
                    break;
                case 2 when length >= 12: // a flag or a count
                    packet[2 + random.Next(10)] = s_bytes[random.Next(s_bytes.Length)];
                    break;
                case 3: // cut out
                    packet.AsSpan(at + count, length - at - count).CopyTo(packet.AsSpan(at));
                    length -= count;
                    break;
                case 4 when length + count <= 4096: // doubled
                    packet.AsSpan(at, length - at).CopyTo(packet.AsSpan(at + count));
                    length += count;
                    break;
                case 5: // the end off
                    length = at;
                    break;
                case 6 when length > 13: // a pointer
                    packet[at = 12 + random.Next(length - 13)] = (byte)(0xc0 | random.Next(2));
                    packet[at + 1] = (byte)random.Next(256);
                    break;
                case 7: // another's tail
                    var other = corpus[random.Next(corpus.Length)];
                    var from = random.Next(other.Length);
                    if (at + other.Length - from > 4096)
                        break;
                    other.AsSpan(from).CopyTo(packet.AsSpan(at));
                    length = at + other.Length - from;
                    break;
                default:
                    for (var i = random.Next(16); i > 0 && length < 4096; i--)
                        packet[length++] = (byte)random.Next(256);
                    break;
            }
        }

        return length;
    }
}
