using System.Text;
using System.Text.Json.Nodes;
using Edge.Common.Storage;
using Edge.Core.MetaManager;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging;

namespace Edge.Core.Edged.StaticPods;

/// <summary>The folder of static pods: which there should be. Looks when the kernel tells of a change, else every so often. One user at a time.</summary>
/// <param name="path">The folder; empty for none. It may come and go.</param>
internal sealed class StaticPodFolder(string path, string nodeName, TimeSpan rescan, IMetaStore meta, TimeProvider time, ILogger log) : IDisposable
{
    private readonly Dictionary<string, JsonObject> _good = PodRows.Statics.Load(meta);
    private readonly Dictionary<string, string> _said = new(StringComparer.Ordinal);
    private FileSystemWatcher? _watcher;
    private DateTimeOffset _next = DateTimeOffset.MinValue;
    private volatile bool _changed;

    /// <summary>Whether it is time to <see cref="ReadAsync"/>.</summary>
    public bool IsDue => path.Length > 0 && (_changed || time.GetUtcNow() >= _next);

    /// <summary>The pods of all files, by <c>namespace/name</c>. A file that is bad stands for what it was when it was good, also after a restart,
    /// and so do all while the folder cannot be read.</summary>
    public async Task<IReadOnlyDictionary<string, JsonObject>> ReadAsync(CancellationToken cancellationToken)
    {
        _next = time.GetUtcNow() + rescan;
        _changed = false;
        var pods = new SortedDictionary<string, JsonObject>(StringComparer.Ordinal);
        if (path.Length == 0)
            return pods;
        List<string> files;
        try
        {
            Watch();
            files = Directory.Exists(path)
                ? [.. Directory.EnumerateFiles(path).Select(file => Path.GetFileName(file)).Where(StaticPodFile.IsPodFile).Order(StringComparer.Ordinal)]
                : [];
            _said.Remove("");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Say("", path, e.Message);
            foreach (var known in _good.OrderBy(pair => pair.Key, StringComparer.Ordinal))
                pods.TryAdd($"{known.Value.Namespace()}/{known.Value.Name()}", known.Value);
            return pods;
        }

        foreach (var gone in _good.Keys.Except(files).ToList())
        {
            _good.Remove(gone);
            await KeepAsync(gone, null, cancellationToken);
        }

        foreach (var gone in _said.Keys.Where(file => file.Length > 0 && !files.Contains(file)).ToList())
            _said.Remove(gone);
        foreach (var file in files)
        {
            var (pod, error) = Read(Path.Combine(path, file));
            if (pod is not null)
            {
                if (_good.GetValueOrDefault(file)?.Uid() != pod.Uid())
                {
                    _good[file] = pod;
                    await KeepAsync(file, pod, cancellationToken);
                }

                _said.Remove(file);
            }
            else
            {
                Say(file, Path.Combine(path, file), error);
            }

            if (_good.TryGetValue(file, out var good) && !pods.TryAdd($"{good.Namespace()}/{good.Name()}", good))
                Say(file, Path.Combine(path, file), $"another file has a pod {good.Namespace()}/{good.Name()} already");
        }

        return pods;
    }

    public void Dispose() => _watcher?.Dispose();

    // Inotify is lost with the folder, and there is none for one that does not exist.
    private void Watch()
    {
        if (!Directory.Exists(path))
        {
            _watcher?.Dispose();
            _watcher = null;
            return;
        }

        if (_watcher is not null)
            return;
        var watcher = new FileSystemWatcher(path) { NotifyFilter = NotifyFilters.FileName | NotifyFilters.LastWrite | NotifyFilters.Size };
        watcher.Changed += (_, _) => _changed = true;
        watcher.Created += (_, _) => _changed = true;
        watcher.Deleted += (_, _) => _changed = true;
        watcher.Renamed += (_, _) => _changed = true;
        watcher.Error += (_, _) => _changed = true;
        try
        {
            watcher.EnableRaisingEvents = true;
            _watcher = watcher;
        }
        catch (IOException)
        {
            // No inotify left: the slow look goes on.
            watcher.Dispose();
        }
    }

    private (JsonObject? Pod, string Error) Read(string file)
    {
        try
        {
            if (Native.FileKind(file) is not '-' and var kind)
                return (null, kind == ' ' ? "it cannot be found" : "it is not a regular file"); // opening a pipe would wait for its writer
            using var stream = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            if (stream.Length > StaticPodFile.LengthMax)
                return (null, $"it has {stream.Length} bytes, at most {StaticPodFile.LengthMax} are read");
            var bytes = new byte[stream.Length];
            var length = stream.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false);
            return StaticPodFile.Read(new UTF8Encoding(false, true).GetString(bytes, 0, length).TrimStart('\uFEFF'), file, nodeName, time.GetUtcNow());
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or DecoderFallbackException)
        {
            return (null, e is DecoderFallbackException ? "it is not UTF-8" : e.Message);
        }
    }

    private async Task KeepAsync(string file, JsonObject? pod, CancellationToken cancellationToken)
    {
        try
        {
            await (pod is null ? PodRows.Statics.DeleteAsync(meta, file, cancellationToken) : PodRows.Statics.PutAsync(meta, file, pod, cancellationToken));
        }
        catch (Exception e) when (e is StoreException or System.Threading.Channels.ChannelClosedException)
        {
            EdgedLog.NotKept(log, "the file", file, e.Message); // it runs all the same
        }
    }

    // Each fault of a file once.
    private void Say(string key, string file, string error)
    {
        if (_said.GetValueOrDefault(key) == error)
            return;
        _said[key] = error;
        EdgedLog.StaticPodBad(log, file, error, key.Length == 0 ? "static pods go on as they were" : _good.ContainsKey(key) ? "the pod that it had before goes on" : "it runs no pod");
    }
}
