using System.Threading.Channels;
using Edge.Cloud.Gslb.Module;
using Edge.GlobalServices.Locations;
using Edge.Testing;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Cloud.Gslb.Tests;

/// <summary>The .mmdb files of LocationMaps on a real disk.</summary>
[Trait("Category", "Dns")]
public sealed class DatabaseFilesTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task A_file_is_read_again_when_it_changes_and_what_is_wrong_with_it_is_said()
    {
        var path = _directory.File("world.mmdb");
        Replace(path, Database("DE"));
        var time = new ManualTimeProvider(DateTimeOffset.UnixEpoch);
        var found = Channel.CreateBounded<(CompiledLayer? Layer, string Error)>(8);
        using var stop = new CancellationTokenSource();
        var looks = 0;
        var files = new DatabaseFiles(() => Interlocked.Increment(ref looks) > 0 ? [path] : [], (_, layer, error) => found.Writer.WriteAsync((layer, error), stop.Token), time, NullLogger.Instance);
        var running = files.RunAsync(stop.Token);
        Assert.NotNull((await NextAsync()).Layer);

        // Put in place by a rename, as the documentation says.
        Replace(path, Database("DE", "FR"));
        var changed = await NextAsync();
        Assert.Equal((true, ""), (changed.Layer is not null, changed.Error));
        Replace(path, Database("DE", "FR")[..40]);
        var cut = await NextAsync();
        Assert.Null(cut.Layer);
        Assert.StartsWith($"{path}: ", cut.Error, StringComparison.Ordinal);
        File.Delete(path);
        Assert.Equal($"{path}: there is no such file on cloudcore's machine", (await NextAsync()).Error);
        Replace(path, Database("FR"));
        Assert.NotNull((await NextAsync()).Layer);

        // One that stays as it is is not read again.
        var enough = Volatile.Read(ref looks) + 3;
        await Eventually.HoldsAsync("it is looked at three times more", () =>
        {
            time.Advance(DatabaseFiles.Period);
            return Volatile.Read(ref looks) >= enough;
        });
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running);
        Assert.False(found.Reader.TryRead(out _));

        async Task<(CompiledLayer? Layer, string Error)> NextAsync()
        {
            var next = found.Reader.ReadAsync().AsTask();
            await Eventually.HoldsAsync("the file is looked at", () =>
            {
                time.Advance(DatabaseFiles.Period);
                return next.IsCompleted;
            });
            return await next;
        }
    }

    private static byte[] Database(params string[] countries)
        => MaxMindWriter.Write([.. countries.Select((country, i) => (MaxMindFileTests.Net($"192.0.{i}.0/24"), MaxMindFileTests.City(country, "X", 50, 8)))]);

    private static void Replace(string path, byte[] bytes)
    {
        File.WriteAllBytes($"{path}.new", bytes);
        File.Move($"{path}.new", path, overwrite: true);
    }
}
