using Edge.Protocol.Cri.V1;
using Edge.Protocol.Grpc;
using Google.Protobuf;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Core.Tests;

/// <summary>A CRI runtime of lists on a real socket, for pods on the host's network; it knows the image <c>present:1</c> and keeps a trace.</summary>
internal sealed class FakeRuntime : IAsyncDisposable
{
    private readonly Lock _gate = new();
    private readonly List<PodSandbox> _sandboxes = [];
    private readonly List<ContainerStatus> _containers = [];
    private (string Id, int Asked) _outOfMemory = ("", 0);
    private readonly Dictionary<string, string> _homes = [];
    private readonly List<string> _trace = [];
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

    public static async Task<FakeRuntime> StartAsync(string socketPath)
    {
        var runtime = new FakeRuntime();
        var methods = new GrpcMethods();
        runtime.Map(methods, "RuntimeService/RunPodSandbox", RunPodSandboxRequest.Parser, runtime.Run);
        runtime.Map(methods, "RuntimeService/StopPodSandbox", StopPodSandboxRequest.Parser, request => runtime.Stop(request.PodSandboxId));
        runtime.Map(methods, "RuntimeService/RemovePodSandbox", RemovePodSandboxRequest.Parser, request => runtime.Remove(request.PodSandboxId));
        runtime.Map(methods, "RuntimeService/ListPodSandbox", ListPodSandboxRequest.Parser, runtime.List);
        runtime.Map(methods, "RuntimeService/PodSandboxStatus", PodSandboxStatusRequest.Parser, request => new PodSandboxStatusResponse { Status = new PodSandboxStatus { Id = request.PodSandboxId } });
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
