using System.Buffers;
using System.Globalization;
using System.Text;
using Edge.Core.Edged.LocalApi;

namespace Edge.Core.Tests.LocalApi;

/// <summary>What comes out of a CRI log file.</summary>
[Trait("Category", "Pods")]
public sealed class CriLogTests
{
    private const string Log =
        "2026-01-02T03:04:05.1Z stdout F first\n"
        + "2026-01-02T03:04:06.123456789Z stdout P be\n"
        + "2026-01-02T03:04:07Z stdout P gin\n"
        + "2026-01-02T03:04:08Z stdout F ning\n"
        + "2026-01-02T03:04:09+01:00 stderr F:x \n"
        + "2026-01-02T03:04:10Z stdout F last\n";

    [Fact]
    public void Pieces_of_a_line_are_joined_whatever_the_pieces_of_the_file()
    {
        for (var size = 1; size <= Log.Length; size++)
            Assert.Equal("first\nbeginning\n\nlast\n", Decode(Log, size: size));
    }

    [Fact]
    public void Times_have_nine_digits_and_stand_before_whole_lines_only()
        => Assert.Equal(
            "2026-01-02T03:04:05.100000000Z first\n2026-01-02T03:04:06.123456789Z beginning\n2026-01-02T03:04:09.000000000+01:00 \n2026-01-02T03:04:10.000000000Z last\n",
            Decode(Log, timestamps: true, size: 7));

    [Theory]
    [InlineData("2026-01-02T03:04:05.1Z", "first\nbeginning\nlast\n")]
    [InlineData("2026-01-02T03:04:06.1234567Z", "beginning\nlast\n")]
    [InlineData("2026-01-02T03:04:07Z", "last\n")]
    [InlineData("2026-01-02T02:04:09Z", "first\nbeginning\n\nlast\n")]
    [InlineData("2027-01-01T00:00:00Z", "")]
    public void Lines_before_a_time_are_left_out_as_a_whole(string since, string expected)
        => Assert.Equal(expected, Decode(Log, since: DateTimeOffset.Parse(since, CultureInfo.InvariantCulture), size: 11));

    [Fact]
    public void The_limit_is_exact_to_the_byte()
    {
        var whole = Decode(Log, timestamps: true);
        for (var limit = 1; limit <= whole.Length + 3; limit++)
            Assert.Equal(whole[..Math.Min(limit, whole.Length)], Decode(Log, timestamps: true, limit: limit, size: 13));
    }

    [Theory]
    [InlineData("garbage\n")]
    [InlineData("\n")]
    [InlineData("2026-01-02T03:04:05Z stdout X text\n")]
    [InlineData("2026-01-02T03:04:05Z stdin F text\n")]
    [InlineData("2026-13-02T03:04:05Z stdout F text\n")]
    [InlineData("yesterday stdout F text\n")]
    public void What_is_no_line_of_a_log_is_left_out_and_counted(string bad)
    {
        foreach (var size in (int[])[1, 5, 4096])
        {
            var decoder = new CriLogDecoder(null, false, long.MaxValue);
            Assert.Equal("first\nlast\n", Decode("2026-01-02T03:04:05Z stdout F first\n" + bad + "2026-01-02T03:04:05Z stdout F last\n", decoder, size));
            Assert.Equal(1, decoder.Malformed);
        }
    }

    [Fact]
    public void A_line_without_a_head_costs_no_memory_however_long()
    {
        var decoder = new CriLogDecoder(null, false, long.MaxValue);
        Assert.Equal("end\n", Decode(new string('x', 1_000_000) + "\n2026-01-02T03:04:05Z stdout F end\n", decoder, 4096));
        Assert.Equal(1, decoder.Malformed);
    }

    [Fact]
    public void Random_bytes_are_refused_without_an_exception()
    {
        var random = new Random(5);
        for (var round = 0; round < 2000; round++)
        {
            var bytes = Encoding.UTF8.GetBytes(Log);
            for (var i = random.Next(1, 8); i > 0; i--)
                bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
            var output = new ArrayBufferWriter<byte>();
            new CriLogDecoder(DateTimeOffset.UnixEpoch, true, 500).Feed(bytes, output);
            Assert.InRange(output.WrittenCount, 0, 500);
        }
    }

    [Theory]
    [InlineData("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.0000000+00:00")]
    [InlineData("2026-01-31T12:00:00.123456789+05:30", "2026-01-31T06:30:00.1234567+00:00")]
    [InlineData("2026-01-31T12:00:00.5-01:00", "2026-01-31T13:00:00.5000000+00:00")]
    public void A_time_is_read_as_RFC_3339_says(string text, string expected)
    {
        Assert.True(LogTimestamp.TryParse(Encoding.ASCII.GetBytes(text), out var time));
        Assert.Equal(expected, time.ToString("O", CultureInfo.InvariantCulture));
    }

    [Theory]
    [InlineData("")]
    [InlineData("2026-01-31T12:00:00")]
    [InlineData("2026-01-31T12:00:00.Z")]
    [InlineData("2026-02-30T12:00:00Z")]
    [InlineData("2026-01-31T12:00:00+25:00")]
    [InlineData("2026-01-31 12:00:00Z")]
    [InlineData("0001-01-01T00:00:00+14:00")]
    public void What_is_no_time_is_refused(string text) => Assert.False(LogTimestamp.TryParse(Encoding.ASCII.GetBytes(text), out _));

    [Fact]
    public void The_last_lines_are_found_in_files_of_any_size()
    {
        using var directory = new TempDirectory();
        var random = new Random(3);
        foreach (var rows in (int[])[0, 1, 2, 50, 6000])
        {
            // Pieces of up to 200 bytes in lines of up to four pieces: over blocks of 64 KiB, heads fall on every boundary.
            var text = new StringBuilder();
            var lines = new List<string>();
            for (var i = 0; i < rows; i++)
            {
                var line = $"line {i} {new string('x', random.Next(200))}";
                lines.Add(line + "\n");
                var pieces = line.Chunk(random.Next(40, 210)).Select(piece => new string(piece)).ToList();
                for (var at = 0; at < pieces.Count; at++)
                    text.Append(CultureInfo.InvariantCulture, $"2026-01-02T03:04:05.{random.Next(1, 999999999)}Z stdout {(at == pieces.Count - 1 ? 'F' : 'P')} {pieces[at]}\n");
            }

            var path = directory.File("0.log");
            File.WriteAllText(path, text.ToString());
            using var file = File.OpenHandle(path);
            foreach (var tail in (long[])[0, 1, 2, 3, 49, 5999, 6000, 100_000])
            {
                var start = LogTail.FindStart(file, text.Length, tail);
                Assert.Equal(string.Concat(lines.TakeLast((int)Math.Min(tail, int.MaxValue))), Decode(text.ToString((int)start, text.Length - (int)start)));
            }
        }
    }

    [Fact]
    public void A_line_that_has_not_ended_counts_as_the_last()
    {
        using var directory = new TempDirectory();
        const string Text = "2026-01-02T03:04:05Z stdout F one\n2026-01-02T03:04:05Z stdout F two\n2026-01-02T03:04:05Z stdout P th\n2026-01-02T03:04:05Z stdout P ree\n";
        File.WriteAllText(directory.File("0.log"), Text);
        using var file = File.OpenHandle(directory.File("0.log"));
        Assert.Equal("three", Decode(Text[(int)LogTail.FindStart(file, Text.Length, 1)..]));
        Assert.Equal("two\nthree", Decode(Text[(int)LogTail.FindStart(file, Text.Length, 2)..]));
    }

    internal static string Decode(string text, DateTimeOffset? since = null, bool timestamps = false, long limit = long.MaxValue, int size = 4096)
        => Decode(text, new CriLogDecoder(since, timestamps, limit), size);

    private static string Decode(string text, CriLogDecoder decoder, int size)
    {
        var output = new ArrayBufferWriter<byte>();
        foreach (var part in Encoding.UTF8.GetBytes(text).Chunk(size))
            decoder.Feed(part, output);
        return Encoding.UTF8.GetString(output.WrittenSpan);
    }
}
