using System.IO.Pipelines;
using System.Text;
using Edge.Core.Edged.LocalApi;

namespace Edge.Core.Tests.LocalApi;

/// <summary>Following a real file.</summary>
[Trait("Category", "Pods")]
public sealed class LogFileReaderTests : IDisposable
{
    private static readonly ContainerLogOptions s_follow = new(true, false, false, null, null, long.MaxValue);

    private readonly TempDirectory _directory = new();
    private readonly CancellationTokenSource _limit = new(TimeSpan.FromSeconds(60));
    private readonly Pipe _pipe = new();
    private volatile bool _running = true;

    private string Path => _directory.File("0.log");

    public void Dispose()
    {
        _limit.Dispose();
        _directory.Dispose();
    }

    [Fact]
    public async Task A_follower_sees_growth_renaming_cutting_and_the_end()
    {
        await File.WriteAllTextAsync(Path, Line("one"));
        var copying = CopyAsync(s_follow);
        await ExpectAsync("one\n");
        await File.AppendAllTextAsync(Path, Line("two"));
        await ExpectAsync("two\n");

        // A rotation writes to the old file until the runtime opens the new one.
        File.Move(Path, Path + ".20260102");
        await File.AppendAllTextAsync(Path + ".20260102", Line("three"));
        await ExpectAsync("three\n");
        await File.WriteAllTextAsync(Path, Line("four"));
        await ExpectAsync("four\n");

        // And one that cuts the file instead.
        using (var file = File.OpenHandle(Path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
            RandomAccess.SetLength(file, 0);
        await File.AppendAllTextAsync(Path, Line("5"));
        await ExpectAsync("5\n");

        // What it wrote last is not lost when it ends.
        _running = false;
        await File.AppendAllTextAsync(Path, Line("six"));
        await ExpectAsync("six\n");
        Assert.Equal(0, await copying);
    }

    [Fact]
    public async Task Without_following_the_copy_ends_at_the_end_of_the_file_also_while_the_container_runs()
    {
        await File.WriteAllTextAsync(Path, Line("one") + "nonsense\n" + Line("two"));
        var copying = CopyAsync(s_follow with { Follow = false, TailLines = 1 });
        await ExpectAsync("two\n");
        Assert.Equal(1, await copying); // what is no line lies between the last two, is read, and left out
    }

    [Fact]
    public async Task A_reader_that_does_not_read_stops_the_reading()
    {
        var line = Line(new string('x', 1000));
        await using (var writer = new StreamWriter(Path))
        {
            for (var i = 0; i < 5000; i++)
                await writer.WriteAsync(line);
        }

        var copying = CopyAsync(s_follow with { Follow = false });
        var first = await _pipe.Reader.ReadAtLeastAsync(32 * 1024, _limit.Token);
        // The pipe pauses at 64 KiB; a block more may be under way. The file has 5 MB.
        Assert.InRange(first.Buffer.Length, 32 * 1024, 256 * 1024);
        Assert.False(copying.IsCompleted);
        var total = first.Buffer.Length; // no more to be asked once the buffer is given back
        _pipe.Reader.AdvanceTo(first.Buffer.End);
        while (total < 5000 * 1001)
        {
            var more = await _pipe.Reader.ReadAsync(_limit.Token);
            total += more.Buffer.Length;
            _pipe.Reader.AdvanceTo(more.Buffer.End);
        }

        Assert.Equal(5000 * 1001, total);
        Assert.Equal(0, await copying);
    }

    [Fact]
    public async Task A_follower_that_goes_ends_the_copy()
    {
        await File.WriteAllTextAsync(Path, Line("one"));
        using var stop = new CancellationTokenSource();
        var copying = new LogFileReader(TimeProvider.System).CopyAsync(Path, s_follow, _ => Task.FromResult(true), _pipe.Writer, stop.Token);
        await ExpectAsync("one\n");
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => copying);
    }

    private static string Line(string text) => $"2026-01-02T03:04:05Z stdout F {text}\n";

    private Task<long> CopyAsync(ContainerLogOptions options)
        => new LogFileReader(TimeProvider.System).CopyAsync(Path, options, _ => Task.FromResult(_running), _pipe.Writer, _limit.Token);

    private async Task ExpectAsync(string text)
    {
        var read = await _pipe.Reader.ReadAtLeastAsync(text.Length, _limit.Token);
        Assert.Equal(text, Encoding.UTF8.GetString(read.Buffer));
        _pipe.Reader.AdvanceTo(read.Buffer.End);
    }
}
