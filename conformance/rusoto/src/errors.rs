//! Which error of the service is which variant of `InvokeError`.

use rusoto_lambda::InvokeError;

/// An error that rusoto has a variant for; a variant holds the message alone.
pub struct Kind {
    pub name: &'static str,
    pub message: fn(&InvokeError) -> Option<&str>,
}

/// Makes the kind of a variant.
macro_rules! kind {
    ($name:expr, $variant:ident) => {
        Kind {
            name: $name,
            message: |error| match error {
                InvokeError::$variant(message) => Some(message),
                _ => None,
            },
        }
    };
}

/// Returns the kind of that name, if rusoto has one.
pub fn kind(name: &str) -> Option<Kind> {
    Some(match name {
        "EC2AccessDeniedException" => kind!("EC2AccessDeniedException", EC2AccessDenied),
        "EC2ThrottledException" => kind!("EC2ThrottledException", EC2Throttled),
        "EC2UnexpectedException" => kind!("EC2UnexpectedException", EC2Unexpected),
        "EFSIOException" => kind!("EFSIOException", EFSIO),
        "EFSMountConnectivityException" => kind!("EFSMountConnectivityException", EFSMountConnectivity),
        "EFSMountFailureException" => kind!("EFSMountFailureException", EFSMountFailure),
        "EFSMountTimeoutException" => kind!("EFSMountTimeoutException", EFSMountTimeout),
        "ENILimitReachedException" => kind!("ENILimitReachedException", ENILimitReached),
        "InvalidParameterValueException" => kind!("InvalidParameterValueException", InvalidParameterValue),
        "InvalidRequestContentException" => kind!("InvalidRequestContentException", InvalidRequestContent),
        "InvalidRuntimeException" => kind!("InvalidRuntimeException", InvalidRuntime),
        "InvalidSecurityGroupIDException" => kind!("InvalidSecurityGroupIDException", InvalidSecurityGroupID),
        "InvalidSubnetIDException" => kind!("InvalidSubnetIDException", InvalidSubnetID),
        "InvalidZipFileException" => kind!("InvalidZipFileException", InvalidZipFile),
        "KMSAccessDeniedException" => kind!("KMSAccessDeniedException", KMSAccessDenied),
        "KMSDisabledException" => kind!("KMSDisabledException", KMSDisabled),
        "KMSInvalidStateException" => kind!("KMSInvalidStateException", KMSInvalidState),
        "KMSNotFoundException" => kind!("KMSNotFoundException", KMSNotFound),
        "RequestTooLargeException" => kind!("RequestTooLargeException", RequestTooLarge),
        "ResourceConflictException" => kind!("ResourceConflictException", ResourceConflict),
        "ResourceNotFoundException" => kind!("ResourceNotFoundException", ResourceNotFound),
        "ResourceNotReadyException" => kind!("ResourceNotReadyException", ResourceNotReady),
        "ServiceException" => kind!("ServiceException", Service),
        "SubnetIPAddressLimitReachedException" => {
            kind!("SubnetIPAddressLimitReachedException", SubnetIPAddressLimitReached)
        }
        "TooManyRequestsException" => kind!("TooManyRequestsException", TooManyRequests),
        "UnsupportedMediaTypeException" => kind!("UnsupportedMediaTypeException", UnsupportedMediaType),
        _ => return None,
    })
}
