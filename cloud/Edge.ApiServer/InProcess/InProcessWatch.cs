using System.Net;
using System.Runtime.CompilerServices;
using Edge.Kubernetes;

namespace Edge.ApiServer.InProcess;

/// <summary>A request's way to answer a watch with objects instead of lines; only those from within the process that ask for it have one.</summary>
internal interface IObjectWatchFeature
{
    /// <summary>Answers with these; completes when nobody reads them any more, or the API ends.</summary>
    Task ServeAsync(IAsyncEnumerable<WatchEvent> events);
}

/// <summary>The answer to a watch from within the process: its reader takes the events from the store's queue itself.</summary>
internal sealed class InProcessWatch(IAsyncEnumerable<WatchEvent> events) : ObjectWatch
{
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Completes when the events have been read to their end, or are not read any more.</summary>
    public Task Ended => _ended.Task;

    public override async IAsyncEnumerable<WatchEvent> ReadAsync([EnumeratorCancellation] CancellationToken cancellationToken)
    {
        try
        {
            await foreach (var change in events.WithCancellation(cancellationToken))
                yield return change;
        }
        finally
        {
            _ended.TrySetResult();
        }
    }

    protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) => throw new NotSupportedException("objects are read by ReadAsync");

    protected override bool TryComputeLength(out long length)
    {
        length = 0;
        return false;
    }

    protected override void Dispose(bool disposing)
    {
        _ended.TrySetResult();
        base.Dispose(disposing);
    }
}
