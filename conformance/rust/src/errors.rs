//! Which error of the service is which variant of `InvokeError`.

use aws_sdk_lambda::operation::invoke::InvokeError;

/// Returns the test for the error of that name, if this version of the SDK has a variant for it.
pub fn kind(name: &str) -> Option<fn(&InvokeError) -> bool> {
    let is_kind: fn(&InvokeError) -> bool = match name {
        "CodeArtifactUserDeletedException" => InvokeError::is_code_artifact_user_deleted_exception,
        "CodeArtifactUserFailedException" => InvokeError::is_code_artifact_user_failed_exception,
        "CodeArtifactUserPendingException" => InvokeError::is_code_artifact_user_pending_exception,
        "DurableExecutionAlreadyStartedException" => {
            InvokeError::is_durable_execution_already_started_exception
        }
        "EC2AccessDeniedException" => InvokeError::is_ec2_access_denied_exception,
        "EC2ThrottledException" => InvokeError::is_ec2_throttled_exception,
        "EC2UnexpectedException" => InvokeError::is_ec2_unexpected_exception,
        "EFSIOException" => InvokeError::is_efsio_exception,
        "EFSMountConnectivityException" => InvokeError::is_efs_mount_connectivity_exception,
        "EFSMountFailureException" => InvokeError::is_efs_mount_failure_exception,
        "EFSMountTimeoutException" => InvokeError::is_efs_mount_timeout_exception,
        "ENILimitReachedException" => InvokeError::is_eni_limit_reached_exception,
        "ENINotReadyException" => InvokeError::is_eni_not_ready_exception,
        "InvalidParameterValueException" => InvokeError::is_invalid_parameter_value_exception,
        "InvalidRequestContentException" => InvokeError::is_invalid_request_content_exception,
        "InvalidRuntimeException" => InvokeError::is_invalid_runtime_exception,
        "InvalidSecurityGroupIDException" => InvokeError::is_invalid_security_group_id_exception,
        "InvalidSubnetIDException" => InvokeError::is_invalid_subnet_id_exception,
        "InvalidZipFileException" => InvokeError::is_invalid_zip_file_exception,
        "KMSAccessDeniedException" => InvokeError::is_kms_access_denied_exception,
        "KMSDisabledException" => InvokeError::is_kms_disabled_exception,
        "KMSInvalidStateException" => InvokeError::is_kms_invalid_state_exception,
        "KMSNotFoundException" => InvokeError::is_kms_not_found_exception,
        "ModeNotSupportedException" => InvokeError::is_mode_not_supported_exception,
        "NoPublishedVersionException" => InvokeError::is_no_published_version_exception,
        "RecursiveInvocationException" => InvokeError::is_recursive_invocation_exception,
        "RequestTooLargeException" => InvokeError::is_request_too_large_exception,
        "ResourceConflictException" => InvokeError::is_resource_conflict_exception,
        "ResourceNotFoundException" => InvokeError::is_resource_not_found_exception,
        "ResourceNotReadyException" => InvokeError::is_resource_not_ready_exception,
        "S3FilesMountConnectivityException" => InvokeError::is_s3_files_mount_connectivity_exception,
        "S3FilesMountFailureException" => InvokeError::is_s3_files_mount_failure_exception,
        "S3FilesMountTimeoutException" => InvokeError::is_s3_files_mount_timeout_exception,
        "SerializedRequestEntityTooLargeException" => {
            InvokeError::is_serialized_request_entity_too_large_exception
        }
        "ServiceException" => InvokeError::is_service_exception,
        "ServiceQuotaExceededException" => InvokeError::is_service_quota_exceeded_exception,
        "SnapStartException" => InvokeError::is_snap_start_exception,
        "SnapStartNotReadyException" => InvokeError::is_snap_start_not_ready_exception,
        "SnapStartRegenerationFailureException" => InvokeError::is_snap_start_regeneration_failure_exception,
        "SnapStartTimeoutException" => InvokeError::is_snap_start_timeout_exception,
        "SubnetIPAddressLimitReachedException" => InvokeError::is_subnet_ip_address_limit_reached_exception,
        "TooManyRequestsException" => InvokeError::is_too_many_requests_exception,
        "UnsupportedMediaTypeException" => InvokeError::is_unsupported_media_type_exception,
        _ => return None,
    };
    Some(is_kind)
}
