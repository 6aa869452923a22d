using System.Buffers;
using System.IO.Pipelines;
using System.Net;
using Edge.Kubernetes;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace Edge.ApiServer.InProcess;

/// <summary>One request from within the process and its answer, as the features that a request handler sees.</summary>
#pragma warning disable CA1001 // Its source of cancellation has no timer and no wait handle, and its reader may outlive its handler; the watch is the answer's, which its receiver disposes.
internal sealed class InProcessExchange
#pragma warning restore CA1001
    : IHttpRequestFeature, IHttpRequestBodyDetectionFeature, IRequestBodyPipeFeature, IHttpResponseFeature, IHttpResponseBodyFeature, IHttpRequestLifetimeFeature, IObjectWatchFeature, IWholeBodyFeature
{
    private static readonly PipeOptions s_pipe = new(pauseWriterThreshold: 1024 * 1024, resumeWriterThreshold: 512 * 1024, useSynchronizationContext: false);

    // Continues where it is set: handler and caller share a thread, which is what makes this cheap.
    private readonly TaskCompletionSource _started = new();
    private readonly CancellationTokenSource _aborted = new();
    private readonly CancellationToken _ending;
    private readonly byte[] _body;
    private Pipe? _pipe; // made where it is first asked for, see Pipe
    private AnswerWriter? _writer;
    private PipeReader? _bodyReader;
    private Stream? _answerStream;
    private InProcessWatch? _watch;
    private byte[]? _whole;
    private volatile bool _isWritten;
    private volatile bool _isComplete;

    /// <param name="request">What is asked; its content has been read into <paramref name="body"/>.</param>
    /// <param name="body">The body.</param>
    /// <param name="isObjects">A watch is answered with objects.</param>
    /// <param name="ending">The API ends.</param>
    public InProcessExchange(HttpRequestMessage request, byte[] body, bool isObjects, CancellationToken ending)
    {
        (_body, _ending) = (body, ending);
        var uri = request.RequestUri!;
        Method = request.Method.Method;
        Path = Decode(uri.AbsolutePath);
        QueryString = uri.Query;
        RawTarget = uri.PathAndQuery;
        foreach (var header in request.Headers.NonValidated)
            Headers[header.Key] = header.Value.ToString();
        if (request.Content is { } content)
        {
            foreach (var header in content.Headers.NonValidated)
                Headers[header.Key] = header.Value.ToString();
            Headers.ContentLength = body.Length;
        }

        var features = new FeatureCollection(9);
        features.Set<IHttpRequestFeature>(this);
        features.Set<IHttpRequestBodyDetectionFeature>(this);
        features.Set<IRequestBodyPipeFeature>(this);
        features.Set<IHttpResponseFeature>(this);
        features.Set<IHttpResponseBodyFeature>(this);
        features.Set<IHttpRequestLifetimeFeature>(this);
        features.Set<IWholeBodyFeature>(this);
        if (isObjects)
            features.Set<IObjectWatchFeature>(this);
        Context = new DefaultHttpContext(features);
    }

    public HttpContext Context { get; }

    /// <summary>Status and headers of the answer are known.</summary>
    public Task Started => _started.Task;

    public string Protocol { get; set; } = "HTTP/2";

    public string Scheme { get; set; } = "http";

    public string Method { get; set; }

    public string PathBase { get; set; } = "";

    public string Path { get; set; }

    public string QueryString { get; set; }

    public string RawTarget { get; set; }

    public IHeaderDictionary Headers { get; set; } = new HeaderDictionary();

    public Stream Body { get; set; } = Stream.Null; // read by its pipe

    public bool CanHaveBody => _body.Length > 0;

    public PipeReader Reader => _bodyReader ??= PipeReader.Create(new ReadOnlySequence<byte>(_body));

    public byte[] Asked => _body;

    public int StatusCode { get; set; } = 200;

    public string? ReasonPhrase { get; set; }

    IHeaderDictionary IHttpResponseFeature.Headers { get; set; } = new HeaderDictionary();

    Stream IHttpResponseFeature.Body
    {
        get => Stream;
        set => throw new NotSupportedException("the answer's body cannot be replaced");
    }

    public bool HasStarted => _isWritten || _started.Task.IsCompleted;

    public Stream Stream => _answerStream ??= Writer.AsStream(leaveOpen: true);

    public PipeWriter Writer => _writer ??= new AnswerWriter(this, Pipe.Writer);

    public CancellationToken RequestAborted
    {
        get => _aborted.Token;
        set => throw new NotSupportedException("a request's end cannot be replaced");
    }

    // What the answer's body goes through where it is not handed over whole. Both sides may be the first to ask.
    private Pipe Pipe => Volatile.Read(ref _pipe) ?? Interlocked.CompareExchange(ref _pipe, new Pipe(s_pipe), null) ?? _pipe!;

    private IHeaderDictionary Answered => ((IHttpResponseFeature)this).Headers;

    public void OnStarting(Func<object, Task> callback, object state) => throw new NotSupportedException("no handler asks for it");

    public void OnCompleted(Func<object, Task> callback, object state) => throw new NotSupportedException("no handler asks for it");

    public void DisableBuffering()
    {
        // Nothing is held back.
    }

    public Task StartAsync(CancellationToken cancellationToken = default)
    {
        // A watch of objects has begun when it serves them.
        if (Context.Features.Get<IObjectWatchFeature>() is null)
            _started.TrySetResult();
        return Task.CompletedTask;
    }

    public Task SendFileAsync(string path, long offset, long? count, CancellationToken cancellationToken = default) => throw new NotSupportedException("the API serves no files");

    public async Task CompleteAsync() => await Pipe.Writer.CompleteAsync();

    /// <summary>The handler gives up an answer that it has begun.</summary>
    public void Abort() => _aborted.Cancel();

    /// <summary>The caller has gone before the answer.</summary>
    public void Leave()
    {
        _aborted.Cancel();
        Pipe.Reader.Complete();
    }

    public void Answer(byte[] body)
    {
        _whole = body;
        _isWritten = true;
    }

    public async Task ServeAsync(IAsyncEnumerable<WatchEvent> events)
    {
        _watch = new InProcessWatch(events);
        using var end = CancellationTokenSource.CreateLinkedTokenSource(_ending, _aborted.Token);
        _started.TrySetResult();
        try
        {
            await _watch.Ended.WaitAsync(end.Token);
        }
        catch (OperationCanceledException)
        {
            // The API ends, and who reads sees the store's watcher close; or the caller has gone before the answer, and nobody will read.
        }
    }

    /// <summary>The handler has ended.</summary>
    /// <param name="fault">What it threw, which it should not.</param>
    public void Complete(Exception? fault)
    {
        if (fault is not null)
            _whole = null; // its reader gets the fault
        if (_whole is null)
            Pipe.Writer.Complete(fault ?? (_aborted.IsCancellationRequested ? new IOException("the request was aborted") : null));
        _isComplete = true;
        _started.TrySetResult();
    }

    /// <summary>The answer, once it has <see cref="Started"/>; a stream where the handler still runs.</summary>
    public async Task<HttpResponseMessage> AnswerAsync(HttpRequestMessage request)
    {
        HttpContent content = _watch is not null ? _watch
            : _isComplete ? new WholeContent(_whole ?? await WholeAsync())
            : new AnswerContent(Pipe.Reader.AsStream(), _aborted);
        var response = new HttpResponseMessage((HttpStatusCode)StatusCode) { RequestMessage = request, Version = HttpVersion.Version20, Content = content };
        foreach (var (name, values) in Answered)
        {
            if (!response.Headers.TryAddWithoutValidation(name, (IEnumerable<string?>)values))
                content.Headers.TryAddWithoutValidation(name, (IEnumerable<string?>)values);
        }

        return response;
    }

    private async ValueTask<byte[]> WholeAsync()
    {
        var read = await Pipe.Reader.ReadAsync(CancellationToken.None);
        var whole = read.Buffer.ToArray();
        await Pipe.Reader.CompleteAsync();
        return whole;
    }

    /// <summary>As a server decodes it: an escaped slash stays escaped, so that no name reaches beyond its segment.</summary>
    private static string Decode(string path)
        => !path.Contains('%', StringComparison.Ordinal)
            ? path
            : string.Join('/', path.Split('/').Select(segment => Uri.UnescapeDataString(segment).Replace("/", "%2F", StringComparison.Ordinal)));

    /// <summary>The body of an answer that is still being written; disposing it tells the handler that nobody reads on.</summary>
    private sealed class AnswerContent(Stream stream, CancellationTokenSource aborted) : StreamContent(stream)
    {
        protected override void Dispose(bool disposing)
        {
            base.Dispose(disposing);
            if (disposing)
                aborted.Cancel();
        }
    }

    /// <summary>Lets the answer go to its reader once it is more than may stand unread.</summary>
    private sealed class AnswerWriter(InProcessExchange exchange, PipeWriter inner) : PipeWriter
    {
        public override bool CanGetUnflushedBytes => inner.CanGetUnflushedBytes;

        public override long UnflushedBytes => inner.UnflushedBytes;

        public override void Advance(int bytes) => inner.Advance(bytes);

        public override Memory<byte> GetMemory(int sizeHint = 0) => inner.GetMemory(sizeHint);

        public override Span<byte> GetSpan(int sizeHint = 0) => inner.GetSpan(sizeHint);

        public override void CancelPendingFlush() => inner.CancelPendingFlush();

        public override void Complete(Exception? exception = null) => inner.Complete(exception);

        public override ValueTask<FlushResult> FlushAsync(CancellationToken cancellationToken = default) => Seen(inner.FlushAsync(cancellationToken));

        public override ValueTask<FlushResult> WriteAsync(ReadOnlyMemory<byte> source, CancellationToken cancellationToken = default) => Seen(inner.WriteAsync(source, cancellationToken));

        private ValueTask<FlushResult> Seen(ValueTask<FlushResult> flushed)
        {
            exchange._isWritten = true;
            if (!flushed.IsCompleted)
                exchange._started.TrySetResult();
            return flushed;
        }
    }
}
