using System.Runtime.CompilerServices;
using System.Threading.Channels;
using Edge.Protocol.Cri.V1;
using Edge.Protocol.Grpc;
using Google.Protobuf;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Core.Tests;

/// <summary>A CRI runtime of lists on a real socket; it knows the image <c>present:1</c> and keeps a trace.</summary>
internal sealed class FakeRuntime : IAsyncDisposable
{
    private readonly Lock _gate = new();
    private readonly List<PodSandbox> _sandboxes = [];
    private readonly List<ContainerStatus> _containers = [];
    private (string Id, int Asked) _outOfMemory = ("", 0);
    private readonly Dictionary<string, string> _homes = [];
    private readonly List<string> _trace = [];
    private int _followers;
    private readonly Channel<ContainerEventResponse> _events = Channel.CreateUnbounded<ContainerEventResponse>();
    private GrpcServer? _server;
    private int _ids;

    /// <summary>What was asked for, in order: verb, then pod uid or container name.</summary>
    public IReadOnlyList<string> Trace
    {
        get
        {
            lock (_gate)
                return [.. _trace];
        }
    }

    /// <summary>How many follow the events.</summary>
    public int Followers => Volatile.Read(ref _followers);

    /// <param name="hasEvents">Whether it has GetContainerEvents, as containerd since 1.7.</param>
    public static async Task<FakeRuntime> StartAsync(string socketPath, bool hasEvents = false)
    {
        var runtime = new FakeRuntime();
        var methods = new GrpcMethods();
        runtime.Map(methods, "RuntimeService/RunPodSandbox", RunPodSandboxRequest.Parser, runtime.Run);
        runtime.Map(methods, "RuntimeService/StopPodSandbox", StopPodSandboxRequest.Parser, request => runtime.Stop(request.PodSandboxId));
        runtime.Map(methods, "RuntimeService/RemovePodSandbox", RemovePodSandboxRequest.Parser, request => runtime.Remove(request.PodSandboxId));
        runtime.Map(methods, "RuntimeService/ListPodSandbox", ListPodSandboxRequest.Parser, runtime.List);
        runtime.Map(methods, "RuntimeService/PodSandboxStatus", PodSandboxStatusRequest.Parser, request => new PodSandboxStatusResponse
        {
            Status = new PodSandboxStatus { Id = request.PodSandboxId, Network = new PodSandboxNetworkStatus { Ip = "10.88.0.2" } },
        });
        runtime.Map(methods, "RuntimeService/CreateContainer", CreateContainerRequest.Parser, runtime.Create);
        runtime.Map(methods, "RuntimeService/StartContainer", StartContainerRequest.Parser, request => runtime.Start(request.ContainerId));
        runtime.Map(methods, "RuntimeService/StopContainer", StopContainerRequest.Parser, runtime.StopContainer);
        runtime.Map(methods, "RuntimeService/RemoveContainer", RemoveContainerRequest.Parser, request => runtime.RemoveContainer(request.ContainerId));
        runtime.Map(methods, "RuntimeService/ListContainers", ListContainersRequest.Parser, runtime.List);
        runtime.Map(methods, "RuntimeService/ContainerStatus", ContainerStatusRequest.Parser, request => runtime.StatusOf(request.ContainerId));
        runtime.Map(methods, "ImageService/ImageStatus", ImageStatusRequest.Parser, request => new ImageStatusResponse
        {
            Image = request.Image.Image == "present:1" ? new Image { Id = "sha256:1" } : null,
        });
        if (hasEvents)
            methods.MapServerStream("/runtime.v1.RuntimeService/GetContainerEvents", GetEventsRequest.Parser, (_, stop) => runtime.FollowAsync(stop));
        runtime._server = await GrpcServer.StartAsync(socketPath, methods, NullLoggerFactory.Instance, default);
        return runtime;
    }

    /// <summary>A container's process ends.</summary>
    public void End(string container, int exitCode)
    {
        lock (_gate)
        {
            var status = _containers.Single(status => status.Metadata.Name == container && status.State == ContainerState.ContainerRunning);
            (status.State, status.ExitCode) = (ContainerState.ContainerExited, exitCode);
        }
    }

    /// <summary>A container is killed at its memory limit: an error, until the third time that somebody asks.</summary>
    public void EndOutOfMemory(string container)
    {
        lock (_gate)
        {
            var status = _containers.Single(status => status.Metadata.Name == container && status.State == ContainerState.ContainerRunning);
            (status.State, status.ExitCode, status.Reason) = (ContainerState.ContainerExited, 137, "Error");
            status.FinishedAt = (TimeProvider.System.GetUtcNow() - DateTimeOffset.UnixEpoch).Ticks * TimeSpan.NanosecondsPerTick;
            _outOfMemory = (status.Id, 3);
        }
    }

    /// <summary>Says that something has happened to a container, as containerd does: with its sandbox and its containers as they are then.</summary>
    /// <param name="namesSandbox">False as of a sandbox that is gone.</param>
    public void Tell(string container, bool namesSandbox = true)
    {
        lock (_gate)
        {
            var status = _containers.Last(status => status.Metadata.Name == container);
            var change = new ContainerEventResponse { ContainerId = status.Id, ContainerEventType = ContainerEventType.ContainerStoppedEvent, ContainersStatuses = { status.Clone() } };
            if (namesSandbox)
                change.PodSandboxStatus = new PodSandboxStatus { Metadata = _sandboxes.Single(sandbox => sandbox.Id == _homes[status.Id]).Metadata };
            _events.Writer.TryWrite(change);
        }
    }

    /// <summary>Says something of a pod that nobody here knows.</summary>
    public void TellOfAnother() => _events.Writer.TryWrite(new ContainerEventResponse { ContainerId = "other", PodSandboxStatus = new PodSandboxStatus { Metadata = new PodSandboxMetadata { Uid = "other" } } });

    /// <summary>The stream of events ends, and the next one with the next event.</summary>
    public void BreakEvents() => _events.Writer.TryWrite(new ContainerEventResponse { ContainerId = "break" });

    /// <summary>The runtime loses everything, as when its directory is removed.</summary>
    public void Wipe()
    {
        lock (_gate)
        {
            _sandboxes.Clear();
            _containers.Clear();
        }
    }

    public ValueTask DisposeAsync() => _server!.DisposeAsync();

    private void Map<TRequest, TResponse>(GrpcMethods methods, string name, MessageParser<TRequest> parser, Func<TRequest, TResponse> answer)
        where TRequest : IMessage<TRequest>
        where TResponse : IMessage<TResponse>
        => methods.MapUnary("/runtime.v1." + name, parser, (request, _) =>
        {
            lock (_gate)
                return Task.FromResult(answer(request));
        });

    private async IAsyncEnumerable<ContainerEventResponse> FollowAsync([EnumeratorCancellation] CancellationToken stop)
    {
        Interlocked.Increment(ref _followers);
        try
        {
            await foreach (var change in _events.Reader.ReadAllAsync(stop))
            {
                if (change.ContainerId == "break")
                    throw new GrpcException(GrpcStatusCode.Unavailable, "the runtime restarts");
                yield return change;
            }
        }
        finally
        {
            Interlocked.Decrement(ref _followers);
        }
    }

    private RunPodSandboxResponse Run(RunPodSandboxRequest request)
    {
        var id = $"sandbox-{++_ids}";
        var sandbox = new PodSandbox { Id = id, Metadata = request.Config.Metadata, State = PodSandboxState.SandboxReady };
        sandbox.Labels.Add(request.Config.Labels);
        _sandboxes.Add(sandbox);
        _trace.Add($"run {request.Config.Metadata.Uid}");
        return new RunPodSandboxResponse { PodSandboxId = id };
    }

    private StopPodSandboxResponse Stop(string id)
    {
        _sandboxes.Single(sandbox => sandbox.Id == id).State = PodSandboxState.SandboxNotready;
        return new StopPodSandboxResponse();
    }

    private RemovePodSandboxResponse Remove(string id)
    {
        var sandbox = _sandboxes.Single(sandbox => sandbox.Id == id);
        _sandboxes.Remove(sandbox);
        _trace.Add($"remove {sandbox.Metadata.Uid}");
        return new RemovePodSandboxResponse();
    }

    private ListPodSandboxResponse List(ListPodSandboxRequest request)
    {
        var answer = new ListPodSandboxResponse();
        answer.Items.Add(_sandboxes.Where(sandbox => request.Filter is null || request.Filter.LabelSelector.All(label => sandbox.Labels[label.Key] == label.Value)).Select(sandbox => sandbox.Clone()));
        return answer;
    }

    private CreateContainerResponse Create(CreateContainerRequest request)
    {
        var id = $"container-{++_ids}";
        var status = new ContainerStatus { Id = id, Metadata = request.Config.Metadata, State = ContainerState.ContainerCreated, Image = request.Config.Image };
        status.Labels.Add(request.Config.Labels);
        _containers.Add(status);
        _homes[id] = request.PodSandboxId;
        return new CreateContainerResponse { ContainerId = id };
    }

    private StartContainerResponse Start(string id)
    {
        Find(id).State = ContainerState.ContainerRunning;
        _trace.Add($"start {Find(id).Metadata.Name}");
        return new StartContainerResponse();
    }

    private StopContainerResponse StopContainer(StopContainerRequest request)
    {
        Find(request.ContainerId).State = ContainerState.ContainerExited;
        _trace.Add($"stop {Find(request.ContainerId).Metadata.Name} {request.Timeout}s");
        return new StopContainerResponse();
    }

    private RemoveContainerResponse RemoveContainer(string id)
    {
        _containers.Remove(Find(id));
        return new RemoveContainerResponse();
    }

    private ListContainersResponse List(ListContainersRequest request)
    {
        var answer = new ListContainersResponse();
        foreach (var status in _containers.Where(status => request.Filter is null || request.Filter.LabelSelector.All(label => status.Labels[label.Key] == label.Value)))
        {
            var item = new Container { Id = status.Id, PodSandboxId = _homes[status.Id], Metadata = status.Metadata, State = status.State };
            item.Labels.Add(status.Labels);
            answer.Containers.Add(item);
        }

        return answer;
    }

    private ContainerStatusResponse StatusOf(string id)
    {
        if (_outOfMemory.Id == id && --_outOfMemory.Asked == 0)
            Find(id).Reason = "OOMKilled";
        return new ContainerStatusResponse { Status = Find(id).Clone() };
    }

    private ContainerStatus Find(string id) => _containers.FirstOrDefault(status => status.Id == id) ?? throw new GrpcException(GrpcStatusCode.NotFound, id);
}
