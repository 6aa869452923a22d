using System.Buffers;
using System.Globalization;
using System.IO.Pipelines;
using System.Net;
using System.Net.Http.Headers;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Edge.Kubernetes;

/// <summary>Kubernetes' REST API over HTTP/2 or 1.1. Requests that the server turned away unprocessed (429, and 503 with Retry-After) are
/// sent again, at most <see cref="TriesMax"/> times in all.</summary>
public sealed class KubeClient : IKubeClient, IDisposable
{
    // Whole objects for who does not know the shape.
    private const string MetadataAccept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1, application/json";
    private const string MetadataListAccept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1, application/json";

    /// <summary>How often a request is sent at most when the server says "later".</summary>
    public const int TriesMax = 5;

    // client-go falls back to one unpaged list when the continue token expires under it; so do we, after this many restarts.
    private const int PagedListsMax = 3;
    private const int ErrorSizeMax = 1024 * 1024;
    private static readonly TimeSpan s_retryAfterMax = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan s_watchReadGrace = TimeSpan.FromSeconds(30);

    private readonly TimeProvider _time;
    private readonly Random _random;
    private readonly KubeConnection _connection;
    private readonly string _server;
    private readonly Lock _gate = new();

    /// <param name="options">Where and who.</param>
    /// <param name="time">Clock of timeouts and waits.</param>
    /// <param name="random">Spreads the ends of watches; null seeds one.</param>
    public KubeClient(KubeClientOptions options, TimeProvider time, Random? random = null)
    {
        Options = options;
        _time = time;
        _random = random ?? new Random(RandomNumberGenerator.GetInt32(int.MaxValue));
        _server = options.Server.AbsoluteUri.TrimEnd('/');
        _connection = new KubeConnection(options, time);
    }

    public KubeClientOptions Options { get; }

    /// <summary>A client for the current context of a kubeconfig file; throws <see cref="Common.Configuration.ConfigException"/> when the file is unfit.</summary>
    public static KubeClient FromKubeconfig(string path, TimeProvider time) => new(Kubeconfig.Load(path), time);

    public void Dispose() => _connection.Dispose();

    public Task<JsonObject> GetAsync(ResourceKind kind, string? @namespace, string name, CancellationToken cancellationToken)
        => SendForObjectAsync(HttpMethod.Get, kind.Path(@namespace, name), null, null, cancellationToken);

    public async Task<JsonObject?> TryGetAsync(ResourceKind kind, string? @namespace, string name, CancellationToken cancellationToken)
    {
        try
        {
            return await GetAsync(kind, @namespace, name, cancellationToken);
        }
        catch (KubeException e) when (e.Code == 404)
        {
            return null;
        }
    }

    public Task<JsonObject> CreateAsync(ResourceKind kind, string? @namespace, JsonObject obj, CancellationToken cancellationToken)
        => SendForObjectAsync(HttpMethod.Post, kind.Path(@namespace), TypedBytes(kind, obj), "application/json", cancellationToken);

    public Task<JsonObject> UpdateAsync(ResourceKind kind, string? @namespace, JsonObject obj, string? subresource, CancellationToken cancellationToken)
        => SendForObjectAsync(HttpMethod.Put, kind.Path(@namespace, obj.Name(), subresource), subresource is null or "status" ? TypedBytes(kind, obj) : Bytes(obj), "application/json", cancellationToken);

    public Task<JsonObject> PatchAsync(
        ResourceKind kind, string? @namespace, string name, PatchKind patchKind, ReadOnlyMemory<byte> patch, string? subresource, CancellationToken cancellationToken)
        => SendForObjectAsync(HttpMethod.Patch, kind.Path(@namespace, name, subresource), patch, MediaType(patchKind), cancellationToken);

    public Task<ReadOnlyMemory<byte>> PatchForBytesAsync(
        ResourceKind kind, string? @namespace, string name, PatchKind patchKind, ReadOnlyMemory<byte> patch, string? subresource, CancellationToken cancellationToken)
        => SendForBytesAsync(HttpMethod.Patch, kind.Path(@namespace, name, subresource), patch, MediaType(patchKind), cancellationToken);

    /// <summary>Server-side apply: the fields of <paramref name="obj"/> become <paramref name="manager"/>'s, those it had before and are no longer in it go.</summary>
    /// <param name="isForced">Takes fields that others own; without it they are a conflict (409).</param>
    /// <param name="isDryRun">The server answers what would be, and stores nothing.</param>
    public Task<JsonObject> ApplyAsync(ResourceKind kind, string? @namespace, JsonObject obj, string manager, bool isForced, bool isDryRun, CancellationToken cancellationToken)
        => SendForObjectAsync(
            HttpMethod.Patch,
            kind.Path(@namespace, obj.Name()) + Query(new ListOptions(), ("fieldManager", manager), ("force", isForced ? "true" : ""), ("dryRun", isDryRun ? "All" : "")),
            Bytes(obj), "application/apply-patch+yaml", cancellationToken);

    public Task<JsonObject> DeleteAsync(ResourceKind kind, string? @namespace, string name, JsonObject? options, CancellationToken cancellationToken)
        => SendForObjectAsync(
            HttpMethod.Delete, kind.Path(@namespace, name), options is null ? (ReadOnlyMemory<byte>?)null : Bytes(options), "application/json", cancellationToken);

    public Task<JsonObject> CreateSubresourceAsync(
        ResourceKind kind, string? @namespace, string name, string subresource, JsonObject body, CancellationToken cancellationToken)
        => SendForObjectAsync(HttpMethod.Post, kind.Path(@namespace, name, subresource), Bytes(body), "application/json", cancellationToken);

    public async Task<KubeList> ListAsync(ResourceKind kind, string? @namespace, ListOptions options, CancellationToken cancellationToken)
    {
        for (var restarts = 0; ; restarts++)
        {
            try
            {
                return await ListPagesAsync(kind, @namespace, options, paged: restarts < PagedListsMax, cancellationToken);
            }
            catch (KubeException e) when (e.Code == 410 && restarts < PagedListsMax)
            {
                // The continue token expired while we read; the list must be of one moment, so from the start.
            }
        }
    }

    public async IAsyncEnumerable<WatchEvent> WatchAsync(
        ResourceKind kind,
        string? @namespace,
        string resourceVersion,
        ListOptions options,
        [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var seconds = WatchSeconds();
        var path = kind.Path(@namespace) + Query(
            options,
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", resourceVersion),
            ("timeoutSeconds", seconds.ToString(CultureInfo.InvariantCulture)));

        // The server ends the watch after `seconds`; when it does not, the connection is dead whatever the pings say.
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(seconds) + s_watchReadGrace, _time);
        using var linked = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, deadline.Token);
        var what = $"watch {kind.Plural}";
        using var response = await GuardAsync(token => SendAsync(HttpMethod.Get, path, null, null, token, isWatch: true, options.IsMetadataOnly), what, cancellationToken, linked.Token);
        options.WatchOpened?.Invoke();
        if (response.Content is ObjectWatch objects)
        {
            await using var events = objects.ReadAsync(linked.Token).GetAsyncEnumerator(CancellationToken.None);
            while (await GuardAsync(_ => events.MoveNextAsync().AsTask(), what, cancellationToken, linked.Token))
                yield return events.Current;
            yield break;
        }

        await using var body = await response.Content.ReadAsStreamAsync(cancellationToken);
        var reader = PipeReader.Create(body, new StreamPipeReaderOptions(bufferSize: 16 * 1024, leaveOpen: true));
        try
        {
            while (true)
            {
                var read = await GuardAsync(token => reader.ReadAsync(token).AsTask(), what, cancellationToken, linked.Token);
                var buffer = read.Buffer;
                while (WatchLines.TryRead(ref buffer, out var line))
                {
                    if (WatchLines.Parse(line, kind) is { } change)
                        yield return change;
                }

                if (buffer.Length > Options.WatchLineSizeMax)
                    throw new KubeException(0, "TooLarge", $"{what}: an event is longer than {Options.WatchLineSizeMax} bytes (KubeClientOptions.WatchLineSizeMax)");
                if (read.IsCompleted)
                {
                    if (!buffer.IsEmpty)
                        throw new KubeException(0, "ConnectionLost", $"{what}: the connection ended inside an event");
                    yield break;
                }

                reader.AdvanceTo(buffer.Start, buffer.End);
            }
        }
        finally
        {
            await reader.CompleteAsync();
        }
    }

    // API servers take a built-in object without apiVersion and kind, and refuse a custom one.
    private static ReadOnlyMemory<byte> TypedBytes(ResourceKind kind, JsonObject obj)
    {
        if (obj.Kind().Length > 0 && obj.ApiVersion().Length > 0)
            return Bytes(obj);
        var typed = obj.DeepClone().AsObject();
        (typed["apiVersion"], typed["kind"]) = (kind.ApiVersion, kind.Kind);
        return Bytes(typed);
    }

    private int WatchSeconds()
    {
        var shortest = (int)Options.WatchTimeoutMin.TotalSeconds;
        lock (_gate)
        {
            return Math.Max(1, shortest + _random.Next(shortest + 1));
        }
    }

    private async Task<KubeList> ListPagesAsync(ResourceKind kind, string? @namespace, ListOptions options, bool paged, CancellationToken cancellationToken)
    {
        var items = new List<JsonObject>();
        var next = "";
        while (true)
        {
            var path = kind.Path(@namespace) + Query(
                options, ("limit", paged ? Options.PageSize.ToString(CultureInfo.InvariantCulture) : ""), ("continue", next));
            var bytes = await SendForBytesAsync(HttpMethod.Get, path, null, null, cancellationToken, options.IsMetadataOnly);
            string version;
            try
            {
                (version, next) = ListPage.Read(bytes, kind, items);
            }
            catch (JsonException e)
            {
                throw new KubeException(0, "BadAnswer", $"GET {path}: the answer is not a list: {e.Message}", inner: e);
            }

            if (next.Length == 0)
                return new KubeList(items, version);
        }
    }

    private async Task<JsonObject> SendForObjectAsync(
        HttpMethod method, string path, ReadOnlyMemory<byte>? body, string? mediaType, CancellationToken cancellationToken)
    {
        var bytes = await SendForBytesAsync(method, path, body, mediaType, cancellationToken);
        try
        {
            return KubeJson.Parse(bytes.Span) as JsonObject
                ?? throw new KubeException(0, "BadAnswer", $"{method} {path}: the answer is not a JSON object");
        }
        catch (JsonException e)
        {
            throw new KubeException(0, "BadAnswer", $"{method} {path}: the answer is not JSON: {e.Message}", inner: e);
        }
    }

    private async Task<ReadOnlyMemory<byte>> SendForBytesAsync(
        HttpMethod method, string path, ReadOnlyMemory<byte>? body, string? mediaType, CancellationToken cancellationToken, bool isMetadataOnly = false)
    {
        using var deadline = new CancellationTokenSource(Options.RequestTimeout, _time);
        using var linked = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, deadline.Token);
        try
        {
            using var response = await SendAsync(method, path, body, mediaType, linked.Token, isMetadataOnly: isMetadataOnly);
            if (response.Content is WholeContent whole && whole.Bytes.Length <= Options.AnswerSizeMax)
                return whole.Bytes;
            await response.Content.LoadIntoBufferAsync(Options.AnswerSizeMax, linked.Token);
            return await response.Content.ReadAsByteArrayAsync(linked.Token);
        }
        catch (Exception e) when (IsTransports(e, cancellationToken))
        {
            throw Told(e, $"{method} {path}", cancellationToken);
        }
    }

    // Sends until the server takes it; the answer is a success whose body is still to be read.
    private async Task<HttpResponseMessage> SendAsync(
        HttpMethod method, string path, ReadOnlyMemory<byte>? body, string? mediaType, CancellationToken cancellationToken, bool isWatch = false, bool isMetadataOnly = false)
    {
        for (var tries = 1; ; tries++)
        {
            using var request = new HttpRequestMessage(method, new Uri(_server + path))
            {
                Version = HttpVersion.Version20,
                VersionPolicy = HttpVersionPolicy.RequestVersionOrLower,
            };
            if (isMetadataOnly)
                request.Headers.TryAddWithoutValidation("Accept", isWatch ? MetadataAccept : MetadataListAccept);
            else
                request.Headers.TryAddWithoutValidation("Accept", "application/json");
            if (isWatch)
                request.Options.Set(ObjectWatch.Asked, true);
            if (body is { } bytes)
            {
                request.Content = MemoryMarshal.TryGetArray(bytes, out var array) && array.Array is { } all && all.Length == array.Count ? new WholeContent(all) : new ReadOnlyMemoryContent(bytes);
                request.Content.Headers.ContentType = new MediaTypeHeaderValue(mediaType!);
            }

            var response = await _connection.SendAsync(request, isWatch, cancellationToken);
            if (response.IsSuccessStatusCode)
                return response;
            using (response)
            {
                var failure = await FailureAsync(response, method, path, cancellationToken);
                var later = failure.Code == 429 || (failure.Code == 503 && failure.RetryAfter is not null);
                if (!later || tries == TriesMax)
                    throw failure;
                var wait = failure.RetryAfter ?? TimeSpan.FromSeconds(1);
                await Task.Delay(wait < s_retryAfterMax ? wait : s_retryAfterMax, _time, cancellationToken);
            }
        }
    }

    private async Task<KubeException> FailureAsync(HttpResponseMessage response, HttpMethod method, string path, CancellationToken cancellationToken)
    {
        JsonObject? status = null;
        try
        {
            await response.Content.LoadIntoBufferAsync(ErrorSizeMax, cancellationToken);
            status = KubeJson.Parse(await response.Content.ReadAsByteArrayAsync(cancellationToken)) as JsonObject;
        }
        catch (Exception e) when (e is JsonException or HttpRequestException or IOException)
        {
            // The status line alone must do: proxies answer HTML, and an answer may be cut.
        }

        if (status.Text("kind") != "Status")
            status = null;
        var code = (int)response.StatusCode;
        var message = status.Text("message");
        var after = response.Headers.RetryAfter;
        var wait = after?.Delta ?? (after?.Date is { } date ? date - _time.GetUtcNow() : null);
        return new KubeException(
            code,
            status.Text("reason") is { Length: > 0 } reason ? reason : KubeJson.Reason(code),
            (message.Length > 0 ? message : $"{method} {path}: the server answered {code} {response.ReasonPhrase}")
                + (code == 401 && _connection.Problem is { } problem ? $"; {problem}" : ""),
            status)
        {
            RetryAfter = wait is { } time && time < TimeSpan.Zero ? TimeSpan.Zero : wait,
        };
    }

    private async Task<T> GuardAsync<T>(Func<CancellationToken, Task<T>> act, string what, CancellationToken caller, CancellationToken linked)
    {
        try
        {
            return await act(linked);
        }
        catch (Exception e) when (IsTransports(e, caller))
        {
            throw Told(e, what, caller);
        }
    }

    // The caller's own cancellation passes through.
    private static bool IsTransports(Exception e, CancellationToken caller)
        => e is HttpRequestException or IOException || (e is OperationCanceledException && !caller.IsCancellationRequested);

    // One place that turns what the transport throws into KubeException.
    private Exception Told(Exception e, string what, CancellationToken caller)
    {
        if (e is OperationCanceledException)
            return new KubeException(0, "Timeout", $"{what}: {_server} did not answer in time", inner: e);
        if (caller.IsCancellationRequested)
            return new OperationCanceledException($"{what}: cancelled", e, caller);
        var cause = e.InnerException is { } inner ? $"{e.Message} ({inner.Message})" : e.Message;
        return new KubeException(0, "ConnectionLost", $"{what}: {_server}: {cause}", inner: e);
    }

    private static string Query(ListOptions options, params ReadOnlySpan<(string Key, string Value)> more)
    {
        var query = new System.Text.StringBuilder();
        Add(query, "labelSelector", options.LabelSelector);
        Add(query, "fieldSelector", options.FieldSelector);
        foreach (var (key, value) in more)
            Add(query, key, value);
        return query.ToString();

        static void Add(System.Text.StringBuilder query, string key, string value)
        {
            if (value.Length > 0)
                query.Append(query.Length == 0 ? '?' : '&').Append(key).Append('=').Append(Uri.EscapeDataString(value));
        }
    }

    private static ReadOnlyMemory<byte> Bytes(JsonObject obj)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer))
        {
            obj.WriteTo(writer);
        }

        return buffer.WrittenMemory;
    }

    private static string MediaType(PatchKind kind) => kind switch
    {
        PatchKind.Json => "application/json-patch+json",
        PatchKind.Merge => "application/merge-patch+json",
        _ => "application/strategic-merge-patch+json",
    };
}
