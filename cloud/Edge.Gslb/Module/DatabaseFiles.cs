using Edge.GlobalServices.Locations;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.Gslb.Module;

/// <summary>Reads the .mmdb files that LocationMaps name, and again when one changes. Reads away from the loop that builds, as a large file takes seconds.</summary>
internal sealed class DatabaseFiles(Func<IReadOnlyCollection<string>> paths, Func<string, CompiledLayer?, string, ValueTask> read, TimeProvider time, ILogger logger)
{
    /// <summary>How often files are looked at.</summary>
    public static readonly TimeSpan Period = TimeSpan.FromSeconds(1);

    // What a whole file may need in memory beside what is compiled of it.
    private const long LengthMax = 1L << 30;

    private readonly Dictionary<string, (DateTime Changed, long Length)> _seen = new(StringComparer.Ordinal);

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        using var timer = new PeriodicTimer(Period, time);
        do
        {
            var wanted = paths();
            foreach (var gone in _seen.Keys.Except(wanted).ToList())
                _seen.Remove(gone);
            foreach (var path in wanted)
                await LookAsync(path, cancellationToken);
        }
        while (await timer.WaitForNextTickAsync(cancellationToken));
    }

    private async Task LookAsync(string path, CancellationToken cancellationToken)
    {
        var file = new FileInfo(path);
        var now = file.Exists ? (file.LastWriteTimeUtc, file.Length) : (default, -1L);
        if (_seen.TryGetValue(path, out var before) && before == now)
            return;
        _seen[path] = now;
        try
        {
            if (!file.Exists)
                throw new MaxMindException("there is no such file on cloudcore's machine");
            if (file.Length > LengthMax)
                throw new MaxMindException($"it has {file.Length} bytes, at most {LengthMax} are read");
            var layer = MaxMindFile.Open(await File.ReadAllBytesAsync(path, cancellationToken)).Locations().Compile();
            GslbLog.DatabaseRead(logger, path, layer.Networks.Ranges);
            await read(path, layer, "");
        }
        catch (Exception e) when (e is MaxMindException or IOException or UnauthorizedAccessException)
        {
            GslbLog.BadDatabase(logger, path, e.Message);
            await read(path, null, $"{path}: {e.Message}");
        }
    }
}
