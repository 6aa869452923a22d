using System.Globalization;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using Edge.ApiServer.Storage;
using Microsoft.Extensions.Logging;

namespace Edge.ApiServer.Audit;

/// <summary>Who did what and when: one line of JSON a request (audit.k8s.io/v1 Event, level Metadata), never a body. Requests do not wait for the disk: lines go through a bounded
/// queue, and what finds it full is dropped and counted. The file is renamed when it is full; the oldest of the renamed are deleted.</summary>
internal sealed partial class AuditLog : IAsyncDisposable
{
    public const int QueueCapacity = 8192;
    private const int BatchMax = 256;
    private static readonly TimeSpan s_retry = TimeSpan.FromSeconds(5);

    // Never waits and never blocks a request: the newest line is the one that is lost, and counted.
    private readonly Channel<JsonObject> _queue = Channel.CreateBounded<JsonObject>(new BoundedChannelOptions(QueueCapacity) { SingleReader = true, FullMode = BoundedChannelFullMode.Wait });
    private readonly string _path;
    private readonly long _bytesMax;
    private readonly int _backupsMax;
    private readonly TimeProvider _time;
    private readonly ILogger _log;
    private readonly Task _loop;
    private FileStream? _file; // the loop's
    private long _dropped;
    private long _written;
    private bool _isFailing; // the loop's
    private DateTimeOffset _renamedAt; // the loop's

    /// <param name="path">Made with mode 0600 where it is missing.</param>
    /// <param name="bytesMax">The file is renamed before it would become larger.</param>
    /// <param name="backupsMax">Renamed files that are kept.</param>
    /// <exception cref="ApiServerException">The file cannot be written.</exception>
    public AuditLog(string path, long bytesMax, int backupsMax, TimeProvider time, ILogger log)
    {
        (_path, _bytesMax, _backupsMax, _time, _log) = (Path.GetFullPath(path), bytesMax, backupsMax, time, log);
        try
        {
            Open();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ApiServerException($"the audit log {_path} cannot be written: {e.Message}; choose another with modules.apiServer.auditLogPath", e);
        }

        _loop = Task.Run(RunAsync);
    }

    /// <summary>Lines lost to a full queue or a failing disk.</summary>
    public long Dropped => Interlocked.Read(ref _dropped);

    public long Written => Interlocked.Read(ref _written);

    public int Depth => _queue.Reader.Count;

    public void Write(JsonObject entry)
    {
        if (!_queue.Writer.TryWrite(entry))
            Interlocked.Increment(ref _dropped);
    }

    /// <summary>Writes what waits, then closes the file.</summary>
    public async ValueTask DisposeAsync()
    {
        _queue.Writer.TryComplete();
        await _loop;
        if (_file is not null)
            await _file.DisposeAsync();
    }

    private async Task RunAsync()
    {
        var batch = new List<JsonObject>(BatchMax);
        var retryAt = DateTimeOffset.MinValue;
        while (await _queue.Reader.WaitToReadAsync())
        {
            batch.Clear();
            while (batch.Count < BatchMax && _queue.Reader.TryRead(out var entry))
                batch.Add(entry);
            if (_isFailing && _time.GetUtcNow() < retryAt)
            {
                Interlocked.Add(ref _dropped, batch.Count);
                continue;
            }

            try
            {
                await AppendAsync(batch);
                Interlocked.Add(ref _written, batch.Count);
                _isFailing = false;
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                Interlocked.Add(ref _dropped, batch.Count);
                if (!_isFailing)
                    WriteFailed(_log, _path, e.Message);
                (_isFailing, retryAt) = (true, _time.GetUtcNow() + s_retry);
            }
        }
    }

    private async Task AppendAsync(List<JsonObject> batch)
    {
        using var buffer = new MemoryStream();
        foreach (var entry in batch)
        {
            var line = ObjectJson.Bytes(entry);
            if (_file is not null && _file.Length + buffer.Length + line.Length + 1 > _bytesMax && _file.Length + buffer.Length > 0)
            {
                await FlushAsync(buffer);
                Rotate();
            }

            buffer.Write(line);
            buffer.WriteByte((byte)'\n');
        }

        await FlushAsync(buffer);
    }

    private async Task FlushAsync(MemoryStream buffer)
    {
        if (_file is null)
            Open();
        await _file!.WriteAsync(buffer.GetBuffer().AsMemory(0, (int)buffer.Length));
        await _file.FlushAsync();
        buffer.SetLength(0);
    }

    private void Open()
    {
        Directory.CreateDirectory(Path.GetDirectoryName(_path)!);
        _file = new FileStream(_path, new FileStreamOptions
        {
            Mode = FileMode.Append, Access = FileAccess.Write, Share = FileShare.ReadWrite | FileShare.Delete, BufferSize = 0, UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
        });
    }

    /// <summary><c>audit.log</c> becomes <c>audit-2026-01-02T03-04-05.678.log</c>, as kube-apiserver's log does.</summary>
    private void Rotate()
    {
        _file!.Dispose();
        _file = null;
        var (directory, name, extension) = (Path.GetDirectoryName(_path)!, Path.GetFileNameWithoutExtension(_path), Path.GetExtension(_path));
        // Names sort by time, also where the clock goes back or several files fill in a millisecond.
        var at = _time.GetUtcNow() is var now && now > _renamedAt ? now : _renamedAt.AddMilliseconds(1);
        string renamed;
        do
        {
            renamed = Path.Combine(directory, $"{name}-{at.UtcDateTime.ToString("yyyy-MM-dd'T'HH-mm-ss.fff", CultureInfo.InvariantCulture)}{extension}");
            _renamedAt = at;
            at = at.AddMilliseconds(1);
        }
        while (File.Exists(renamed));
        File.Move(_path, renamed);
        foreach (var old in Directory.GetFiles(directory, $"{name}-????-??-??T??-??-??.???{extension}").Order(StringComparer.Ordinal).Reverse().Skip(_backupsMax))
            File.Delete(old);
        Open();
    }

    [LoggerMessage(EventId = 7130, Level = LogLevel.Error, Message = "AuditFailed: {Path} cannot be written, lines are lost until it can: {Reason}")]
    private static partial void WriteFailed(ILogger logger, string path, string reason);
}
