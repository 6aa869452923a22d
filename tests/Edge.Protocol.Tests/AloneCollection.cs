namespace Edge.Protocol.Tests;

/// <summary>Tests that measure the whole process; no other test runs beside them.</summary>
[CollectionDefinition(nameof(AloneCollection), DisableParallelization = true)]
public sealed class AloneCollection;
